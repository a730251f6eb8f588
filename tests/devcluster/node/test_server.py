"""The kubelet API of a node, over real TLS."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp

from sea_devcluster.credentials import Authority
from sea_devcluster.node.kube_json import utc_now
from sea_devcluster.node.logs import ContainerLog
from sea_devcluster.node.server import KubeletServer

POD = {"spec": {"containers": [{"name": "main"}]}}


class Log(ContainerLog):
    """Signals when a follower has left."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.left = asyncio.Event()

    def unfollow(self, queue: Any) -> None:
        super().unfollow(queue)
        self.left.set()


async def test_a_follower_of_a_silent_container_that_disconnects_is_forgotten(
    tmp_path: Path,
) -> None:
    """It was remembered until the container's next line, which may never come."""
    authority = Authority(tmp_path / "pki")
    pair = authority.issue("node", "n", "127.0.0.1")
    log = Log(tmp_path / "logs", 1 << 20, utc_now)
    log.begin(0)
    log.write(b"the only line\n")
    worker: Any = SimpleNamespace(pod=POD, log_of=lambda _: log)
    config: Any = SimpleNamespace(
        address="127.0.0.1",
        kubelet_port=0,
        cert_file=pair.certificate,
        key_file=pair.key,
        ca_file=authority.pair.certificate,
        require_client_certificate=False,
    )
    server = KubeletServer(config, lambda *_: worker, utc_now)
    await server.start()
    try:
        url = f"https://127.0.0.1:{server.port}/containerLogs/n/p/main?follow=true"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, ssl=False) as response,
        ):
            assert await response.content.readline() == b"the only line\n"
        async with asyncio.timeout(60):
            await log.left.wait()
    finally:
        await server.stop()
        log.end()
