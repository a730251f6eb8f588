"""The updater between a real engine and a coordinator whose trainer has died."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from aiohttp import test_utils, web

from sea_runtime.client.async_client import AsyncCoordinatorClient
from sea_runtime.rollout.engine_client import EngineClient
from sea_runtime.rollout.engine_state import EngineState
from sea_runtime.rollout.weight_updater import WeightUpdater
from sea_runtime.wire.weights import Adopted, WeightQueryReply, WeightVersion
from sea_testing.publisher import Publisher
from sea_testing.reference import Reference
from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component

PROMPT = [7, 42, 19, 30, 11, 50, 33, 8, 9, 10, 44, 25]


class Coordinator:
    """Answers like the real one: nothing when the newest version is not newer than asked."""

    def __init__(self) -> None:
        self.reply = WeightQueryReply(newest=None, required=0)
        self.adopted: asyncio.Queue[Adopted] = asyncio.Queue()

    async def newer(self, request: web.Request) -> web.Response:
        newest, after = self.reply.newest, int(request.query["after"])
        known = newest is None or newest.version <= after
        if known:
            await asyncio.sleep(min(0.2, float(request.query.get("wait", "0"))))
        nothing = WeightQueryReply(newest=None, required=0)
        return web.json_response(text=(nothing if known else self.reply).model_dump_json())

    async def took(self, request: web.Request) -> web.Response:
        self.adopted.put_nowait(Adopted.model_validate_json(await request.read()))
        return web.Response()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/weights/policy", self.newer)
        app.router.add_post("/v1/weights/policy/adopted", self.took)
        return app


@pytest_asyncio.fixture
async def updated(engine: EngineClient) -> AsyncIterator[tuple[Coordinator, EngineState]]:
    """A running updater of the engine: the coordinator that it asks, and its state."""
    coordinator, state = Coordinator(), EngineState()
    state.serves(*await engine.version())
    async with (
        test_utils.TestServer(coordinator.app()) as server,
        AsyncCoordinatorClient(str(server.make_url("")), "token") as client,
    ):
        updater = WeightUpdater(client, engine, state, "policy", "job-rollout-0")
        running = asyncio.ensure_future(updater.run())
        yield coordinator, state
        running.cancel()
        await asyncio.wait([running])


async def test_anchor_is_taken_when_the_trainer_is_dead(
    updated: tuple[Coordinator, EngineState],
    engine: EngineClient,
    make_publisher: Callable[[], Publisher],
    publisher: Publisher,
    anchored: Callable[[Publisher, WeightVersion], WeightVersion],
    reference: Reference,
    versions: Callable[[], int],
) -> None:
    """Version 1 of the dead trainer is in S3, 2 only in its memory; later another publishes 2."""
    coordinator, state = updated
    first, second = versions(), versions()
    dead = make_publisher()
    anchor = anchored(dead, dead.publish(first))
    newest = dead.publish(second)
    dead.kill()

    coordinator.reply = WeightQueryReply(newest=newest, required=0, anchor=anchor)
    took = await asyncio.wait_for(coordinator.adopted.get(), HANG_S)
    assert (took.version, took.transport) == (first, "ObjectStore")
    assert (state.version, state.attempt) == await engine.version()
    assert state.version == first
    turn = await engine.generate(PROMPT, max_tokens=16, temperature=1.0, stop_token_ids=[], seed=0)
    reference.load(dead.weights(first))
    expected = reference.logprobs(PROMPT, turn.token_ids)
    assert max(abs(a - b) for a, b in zip(expected, turn.logprobs, strict=True)) < 1e-3

    again = publisher.publish(second).model_copy(update={"attempt": 2})
    coordinator.reply = WeightQueryReply(newest=again, required=0)
    took = await asyncio.wait_for(coordinator.adopted.get(), HANG_S)
    assert (took.version, took.transport) == (second, "NIXL")
    assert state.version == second
