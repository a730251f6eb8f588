"""Nodes are listed once for many passes, and not knowing them stalls nothing."""

import asyncio
from typing import Any

from sea_operator.errors import RejectedError
from sea_operator.node_reader import MAX_AGE_SECONDS, NodeReader
from sea_operator.observed import GPUNode


class Server:
    """Nodes, as the API server lists them."""

    def __init__(self) -> None:
        self.lists = 0
        self.refuses = False

    async def list(self, *_: Any) -> list[dict[str, Any]]:
        self.lists += 1
        await asyncio.sleep(0)
        if self.refuses:
            raise RejectedError("nodes is forbidden")
        gpus = {"status": {"capacity": {"nvidia.com/gpu": "8", "cpu": "64"}}}
        return [
            {"metadata": {"name": "a", "labels": {"x": "y"}}, **gpus},
            {"metadata": {"name": "b"}, "status": {"capacity": {"cpu": "64"}}},
            {"metadata": {"name": "c"}},
        ]


async def test_many_passes_share_one_list_for_a_while() -> None:
    server, now = Server(), 1000.0
    reader = NodeReader(server, lambda: now)  # type: ignore[arg-type]
    found = await asyncio.gather(*(reader.with_gpus() for _ in range(5)))
    assert found == [(GPUNode({"x": "y"}, 8),)] * 5
    assert server.lists == 1
    now += MAX_AGE_SECONDS
    await reader.with_gpus()
    assert server.lists == 2


async def test_without_the_right_to_list_nodes_nothing_is_known() -> None:
    server = Server()
    server.refuses = True
    reader = NodeReader(server, lambda: 1000.0)  # type: ignore[arg-type]
    assert await reader.with_gpus() is None
    assert await reader.with_gpus() is None
    assert server.lists == 1, "it isn't asked at each pass"
