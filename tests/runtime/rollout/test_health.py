"""A new weight version is reported at once, and an engine that was left behind restarts."""

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

ABANDONED = 6
"""A version that training has gone back behind."""


class Pool:
    def use(self, _: Any) -> None:
        pass


async def test_changes_do_not_wait_for_the_next_heartbeat_and_its_answer_restarts_an_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "PERIOD_SECONDS", 3600.0)
    heard: asyncio.Queue[int | None] = asyncio.Queue()
    state = EngineState()
    restarted: list[int | None] = []

    async def restart() -> None:
        restarted.append(state.version)
        state.serves(None)

    async def hear(request: web.Request) -> web.Response:
        beat = Heartbeat.model_validate_json(await request.read())
        heard.put_nowait(beat.adopted)
        if beat.adopted == 4:  # changes again before this beat has its answer
            state.serves(5)
        reply = HeartbeatReply(restart=beat.adopted in (ABANDONED, None))
        return web.Response(text=reply.model_dump_json())

    app = web.Application()
    app.router.add_post("/v1/heartbeat", hear)
    settings = Settings("", "t", "pod", "127.0.0.1", "rollout", "policy", 0, Path())
    async with (
        TestServer(app) as server,
        AsyncCoordinatorClient(str(server.make_url("")), "t") as client,
    ):
        pool: Any = Pool()
        beats = asyncio.ensure_future(
            health.beat(client, settings, Identity("pod", "life"), state, pool, restart)
        )
        assert await asyncio.wait_for(heard.get(), HANG_S) is None
        state.serves(4)
        assert await asyncio.wait_for(heard.get(), HANG_S) == 4
        assert await asyncio.wait_for(heard.get(), HANG_S) == 5
        assert restarted == []
        state.serves(ABANDONED)
        assert await asyncio.wait_for(heard.get(), HANG_S) == ABANDONED
        # It reports that it is empty at once, and is not restarted again for that.
        assert await asyncio.wait_for(heard.get(), HANG_S) is None
        assert restarted == [ABANDONED]
        beats.cancel()
        await asyncio.gather(beats, return_exceptions=True)
