"""A new weight version is reported at once: leases may wait for it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sea_runtime.client.async_client import AsyncCoordinatorClient
from sea_runtime.rollout import health
from sea_runtime.rollout.engine_state import EngineState
from sea_runtime.rollout.settings import Identity, Settings
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply
from sea_testing.waiting import HANG_S


class Pool:
    def use(self, _: Any) -> None:
        pass


async def test_a_new_version_does_not_wait_for_the_next_heartbeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "PERIOD_SECONDS", 3600.0)
    heard: asyncio.Queue[int | None] = asyncio.Queue()
    state = EngineState()

    async def hear(request: web.Request) -> web.Response:
        beat = Heartbeat.model_validate_json(await request.read())
        heard.put_nowait(beat.adopted)
        if beat.adopted == 4:  # changes again before this beat has its answer
            state.serves(5)
        return web.Response(text=HeartbeatReply().model_dump_json())

    app = web.Application()
    app.router.add_post("/v1/heartbeat", hear)
    settings = Settings("", "t", "pod", "127.0.0.1", "rollout", "policy", 0, Path())
    async with (
        TestServer(app) as server,
        AsyncCoordinatorClient(str(server.make_url("")), "t") as client,
    ):
        pool: Any = Pool()
        beats = asyncio.ensure_future(
            health.beat(client, settings, Identity("pod", "life"), state, pool)
        )
        assert await asyncio.wait_for(heard.get(), HANG_S) is None
        state.serves(4)
        assert await asyncio.wait_for(heard.get(), HANG_S) == 4
        assert await asyncio.wait_for(heard.get(), HANG_S) == 5
        beats.cancel()
        await asyncio.gather(beats, return_exceptions=True)
