"""Every lease ends: delivered late, or reported without a verdict, but never kept."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from sea_runtime.client.async_client import AsyncCoordinatorClient
from sea_runtime.rollout import agent_loop
from sea_runtime.rollout.agent_loop import AgentLoop
from sea_runtime.rollout.engine_state import EngineState
from sea_runtime.rollout.settings import Identity
from sea_runtime.wire.rollouts import (
    EpisodeKind,
    EpisodeResult,
    Lease,
    Leases,
    UserSettings,
)
from sea_testing.served import served
from sea_testing.waiting import HANG_S

LEASE = Lease(
    lease_id="l",
    kind=EpisodeKind.TRAIN,
    group_id="g",
    sample=0,
    domain="shop",
    task={},
    database=None,
    seed=0,
    temperature=1.0,
    max_tokens_per_turn=4,
    max_turns=6,
    context_length=8,
    user=UserSettings(engine="Scripted"),
)
GOOD = EpisodeResult("l", "w", "i", 1.0, "", None, 1, 1, "UserStop", [], 0.0, {})
Answer = Callable[[EpisodeResult], int]


class Coordinator:
    """Hands out one lease; `answer` gives the status of each result that comes."""

    def __init__(self) -> None:
        self.leases = [LEASE]
        self.answer: Answer = lambda _: 200
        self.asked = 0
        self.taken: asyncio.Queue[EpisodeResult] = asyncio.Queue()
        self.released: list[dict[str, str]] = []
        self.away = asyncio.Event()
        """Until it is set, a lease that is given back gets no answer."""
        self.away.set()
        self.url = ""

    async def lease(self, _: web.Request) -> web.Response:
        given, self.leases = self.leases, []
        if not given:
            await asyncio.sleep(0.01)
        return web.Response(text=Leases(leases=given).model_dump_json())

    async def release(self, request: web.Request) -> web.Response:
        self.released.append(await request.json())
        await self.away.wait()
        return web.json_response({})

    async def result(self, request: web.Request) -> web.Response:
        self.asked += 1
        result = msgspec.msgpack.decode(await request.read(), type=EpisodeResult)
        status = self.answer(result)
        if status == 200:
            self.taken.put_nowait(result)
        return web.json_response({}, status=status)


@pytest.fixture
async def coordinator() -> AsyncIterator[Coordinator]:
    coordinator = Coordinator()
    app = web.Application()
    app.add_routes(
        [
            web.post("/v1/leases", coordinator.lease),
            web.post("/v1/leases/l/result", coordinator.result),
            web.post("/v1/leases/l/release", coordinator.release),
        ]
    )
    async with served(app) as coordinator.url:
        yield coordinator


async def delivered(coordinator: Coordinator, result: EpisodeResult) -> EpisodeResult:
    """What the coordinator finally accepts for an episode that ends with `result`."""

    async def run(_: Lease) -> EpisodeResult:
        return result

    state = EngineState()
    state.serves(0)
    state.require(0)
    async with AsyncCoordinatorClient(coordinator.url, "token", retry_timeout=0.05) as client:
        loop = asyncio.ensure_future(AgentLoop(client, state, Identity("w", "i"), run).run())
        try:
            return await asyncio.wait_for(coordinator.taken.get(), HANG_S)
        finally:
            loop.cancel()


async def test_a_result_waits_for_a_coordinator_that_is_away(
    coordinator: Coordinator,
) -> None:
    """Longer than the client's retries: the coordinator treats the lease as running."""
    coordinator.answer = lambda _: 503 if coordinator.asked < 6 else 200
    assert await delivered(coordinator, GOOD) == GOOD


async def test_a_refused_result_is_reported_without_a_verdict(coordinator: Coordinator) -> None:
    coordinator.answer = lambda result: 200 if result.reward is None else 413
    taken = await delivered(coordinator, GOOD)
    assert taken.trajectory is None
    assert "413" in taken.error


@pytest.mark.parametrize("said", ["half of an emoji \ud83d", 10**30], ids=["surrogate", "huge"])
async def test_a_transcript_that_cannot_be_sent_costs_only_the_episode(
    coordinator: Coordinator, said: Any
) -> None:
    transcript = [{"role": "user", "content": said}]
    taken = await delivered(coordinator, msgspec.structs.replace(GOOD, transcript=transcript))
    assert taken.reward is None
    assert taken.transcript == []
    assert "can't be sent" in taken.error


@pytest.mark.parametrize("away", [False, True])
async def test_a_pod_that_leaves_gives_its_unfinished_episodes_back(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    """So that others run them at once. A coordinator that is away doesn't hold the pod up."""
    if away:
        coordinator.away.clear()
        monkeypatch.setattr(agent_loop, "GIVE_BACK_SECONDS", 0.05)
    runs, ended = asyncio.Event(), asyncio.Event()

    async def run(_: Lease) -> EpisodeResult:
        runs.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return GOOD

    state = EngineState()
    state.serves(0)
    state.require(0)
    async with AsyncCoordinatorClient(coordinator.url, "token", retry_timeout=0.05) as client:
        loop = AgentLoop(client, state, Identity("w", "i"), run)
        running = asyncio.ensure_future(loop.run())
        await asyncio.wait_for(runs.wait(), HANG_S)
        running.cancel()
        await asyncio.wait_for(loop.give_back(), HANG_S)
        assert ended.is_set()
    coordinator.away.set()
    assert coordinator.released == [{"pod": "w", "incarnation": "i"}]
    assert coordinator.taken.empty()
