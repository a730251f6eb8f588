"""The aiohttp application: routes, guards, background loops."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from sea_runtime.coordinator import runner, synthesis
from sea_runtime.coordinator.auth import guard
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.routes import operator, pods, rollout, trainer, watchers, weights
from sea_runtime.coordinator.routes.common import CORE, faults

LARGEST_BODY = 512 << 20
"""Bytes; a trajectory of a million tokens with its transcript stays far below."""


def build(core: Coordinator) -> web.Application:
    app = web.Application(
        middlewares=[guard(core.settings.token), faults], client_max_size=LARGEST_BODY
    )
    app[CORE] = core
    for part in (operator, pods, trainer, rollout, weights, watchers):
        app.add_routes(part.routes())
    app.cleanup_ctx.append(_background)
    return app


async def _background(app: web.Application) -> AsyncIterator[None]:
    core = app[CORE]
    tasks = runner.start(core)
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await synthesis.stop(core)
    if core.db is not None:
        core.db.close()
