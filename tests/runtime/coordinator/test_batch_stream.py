"""A batch goes to rank 0 piece by piece: the same bytes, never as a whole in memory."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sea_runtime.client import calls
from sea_runtime.client.calls import CoordinatorUnreachableError
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.coordinator import http, routes
from sea_runtime.coordinator.app import RESULT_BYTES, Components, serve
from sea_runtime.coordinator.errors import GoneError
from sea_runtime.coordinator.http import BodyBudget, streamed
from sea_runtime.coordinator.ledger import fixed_batch
from sea_runtime.coordinator.ledger.fixed_batch import PIECE_BYTES, FixedBatch
from sea_runtime.coordinator.ledger.trajectories import INLINE_BYTES
from sea_runtime.wire.rollouts import Batch, Lease, LeaseRequest
from sea_testing.coordinator import inprocess as kit
from sea_testing.waiting import HANG_S

POD, LIFE = "rollout-0", "life"


def coordinator(folder: Path, prompts: int, samples: int) -> Components:
    spec = kit.spec(
        promptsPerStep=prompts, trajectoriesPerPrompt=samples, maxConcurrentGroups=prompts
    )
    core = kit.coordinator(folder, kit.desired(spec), kit.Clock())
    core.heartbeats.heard(kit.beat(POD, "rollout", LIFE, adopted=0))
    return core


def body(lease: Lease, size: int) -> bytes:
    return f"{lease.group_id}.{lease.sample}.".encode().ljust(size, b"\xc1")


async def fill(core: Components, sizes: list[int]) -> FixedBatch:
    """The first step's batch; its trajectories have these sizes, in turn."""
    given = 0
    while (found := core.training.batch("rl", 1, 1)) is None:
        asked = LeaseRequest(pod=POD, incarnation=LIFE, want=64)
        for lease in kit.some(core.scheduler.lease(asked)).leases:
            result = kit.result(lease, POD, LIFE, float(lease.sample == 0))
            sent = msgspec.structs.replace(
                result, trajectory=body(lease, sizes[given % len(sizes)])
            )
            given += 1
            async with core.files.stored(sent.trajectory) as file:
                assert core.scheduler.result(sent, file)
    assert isinstance(found, FixedBatch)
    return found


@pytest.mark.parametrize(
    ("prompts", "samples", "sizes"),
    [
        (1, 2, [20]),
        (20, 17, [0, 20, 300]),
        (3, 2, [70_000, INLINE_BYTES, INLINE_BYTES + 1]),
        (2, 2, [3 * PIECE_BYTES + 5, PIECE_BYTES, 7]),
    ],
)
def test_the_pieces_are_the_batch_in_msgpack(
    prompts: int, samples: int, sizes: list[int], tmp_path: Path
) -> None:
    """Whatever the numbers of groups and trajectories, and the sizes: each has its own header."""
    core = coordinator(tmp_path, prompts, samples)
    stream = asyncio.run(fill(core, sizes)).open()
    pieces = list(stream.pieces())
    sent = b"".join(pieces)
    assert len(sent) == stream.nbytes
    assert max(map(len, pieces)) <= 2 * PIECE_BYTES
    batch = msgspec.msgpack.decode(sent, type=Batch)
    assert msgspec.msgpack.encode(batch) == sent
    assert len(batch.groups) == prompts
    for group in batch.groups:
        assert group.rewards == [float(sample == 0) for sample in range(samples)]
        for sample, found in enumerate(group.trajectories):
            assert found.startswith(f"{group.group_id}.{sample}.".encode()) or len(found) < 20


@pytest.mark.parametrize("length", [0, 15, 16, 65_535, 65_536])
def test_headers_are_those_of_msgpack(length: int) -> None:
    assert msgspec.msgpack.encode([None] * length).startswith(fixed_batch._array(length))
    assert msgspec.msgpack.encode(b"x" * length).startswith(fixed_batch._binary(length))


async def test_rank_0_gets_it_over_http_and_again(tmp_path: Path) -> None:
    core = coordinator(tmp_path, 2, 2)
    expected = kit.whole(await fill(core, [2 * PIECE_BYTES, 10]))
    async with TestServer(serve(core, "token")) as server:
        rank_0 = CoordinatorClient(str(server.make_url("")), "token", retry_timeout=0.0)
        for _ in range(2):
            assert await asyncio.to_thread(rank_0.batch, "rl", 1, 1) == expected


async def test_a_batch_that_is_covered_while_it_is_sent_breaks_off(tmp_path: Path) -> None:
    """Its reader notices, asks again, and is told why: it never gets a part for the whole."""
    core = coordinator(tmp_path, 2, 2)
    found = await fill(core, [PIECE_BYTES])
    files = sorted(core.files.folder.iterdir())
    opened = FixedBatch.open

    def and_covered(batch: FixedBatch) -> fixed_batch.BatchStream:
        stream = opened(batch)
        files[-1].unlink()
        return stream

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FixedBatch, "open", and_covered)
        async with TestServer(serve(core, "token")) as server:
            rank_0 = CoordinatorClient(str(server.make_url("")), "token", retry_timeout=0.0)
            # As a short body or, if nothing has left yet, as a connection that was closed.
            with pytest.raises(CoordinatorUnreachableError, match=r"IncompleteRead|Connection"):
                await asyncio.to_thread(rank_0.batch, "rl", 1, 1)
    with pytest.raises(GoneError, match="covered by a committed checkpoint"):
        await asyncio.to_thread(found.open)


async def test_nothing_is_read_that_the_caller_does_not_take() -> None:
    """Only what fits into the buffers between them."""
    total, read = 256 * PIECE_BYTES, 0

    def pieces() -> Iterator[bytes]:
        nonlocal read
        while read < total:
            read += PIECE_BYTES
            yield bytes(PIECE_BYTES)

    async def answer(_: web.Request) -> web.StreamResponse:
        return streamed(pieces(), total, "application/msgpack")

    app = web.Application()
    app.router.add_get("/", answer)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as session,
        session.get(server.make_url("/")) as reply,
    ):
        assert reply.content_length == total
        for taken in range(1, 33):
            await reply.content.readexactly(PIECE_BYTES)
            assert read < (taken + 32) * PIECE_BYTES
        reply.close()


async def test_results_wait_for_the_byte_budget_in_order_of_arrival() -> None:
    """All engines may send theirs at once, each of up to 256 MB; one that exceeds the budget comes
    alone."""
    budget, inside, ends = BodyBudget(100), list[int](), dict[int, asyncio.Event]()

    async def send(nbytes: int) -> None:
        request: Any = SimpleNamespace(content_length=nbytes)
        async with budget.reserve(request):
            inside.append(nbytes)
            try:
                await ends[nbytes].wait()
            finally:
                inside.remove(nbytes)

    async def until(expected: list[int]) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        assert inside == expected

    tasks = {}
    for nbytes in (80, 50, 1, 999):
        ends[nbytes] = asyncio.Event()
        tasks[nbytes] = asyncio.ensure_future(send(nbytes))
        await asyncio.sleep(0)
    await until([80])
    # Its caller has gone, as has that of one that still waits.
    tasks[80].cancel()
    await until([50, 1])
    tasks[999].cancel()
    last = asyncio.ensure_future(send(999))
    for nbytes in (50, 1):
        ends[nbytes].set()
    await until([999])
    ends[999].set()
    await asyncio.wait_for(asyncio.gather(tasks[50], tasks[1], last), HANG_S)
    assert budget._free == 100


async def test_a_result_that_stops_on_its_way_gives_its_bytes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its node was lost, and nobody closes the connection: all other results would wait."""
    monkeypatch.setattr(http, "READ_SECONDS", 0.0)
    monkeypatch.setattr(calls, "POLL_MARGIN_SECONDS", 0.01)
    app = serve(coordinator(tmp_path, 1, 2), "token")
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(
            b"POST /v1/leases/a/result HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer token\r\n"
            b"Content-Length: 1000\r\n\r\nsome of it"
        )
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), HANG_S)
        writer.close()
    assert b" 503 " in answer
    budget = app[routes.BODIES]
    assert budget._free == RESULT_BYTES
