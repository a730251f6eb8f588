"""A full volume is told and mends itself; SQLite's own limit on pages stands for it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sea_runtime.coordinator import state, volume
from sea_runtime.coordinator.routes import trainer
from sea_runtime.coordinator.routes.common import CORE, faults
from sea_runtime.wire.trainer import StageProgress
from sea_testing.coordinator import inprocess as kit

PLENTY = 1 << 20


@pytest.fixture
def core(tmp_path: Path) -> Any:
    return kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock())


@pytest.fixture
async def client(core: Any) -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application(middlewares=[faults])
    app[CORE] = core
    app.add_routes(trainer.routes())
    async with TestClient(TestServer(app)) as client:
        yield client


def limit(core: Any, pages: int) -> None:
    core.db.value(f"PRAGMA max_page_count = {pages}")


async def report(client: TestClient[Any, Any], step: int) -> web.Response:
    metrics = {f"a-long-name-of-a-metric-{i}": 0.5 for i in range(500)}
    row = StageProgress(attempt=1, step=step, total_steps=3, metrics=metrics)
    reply: Any = await client.post("/v1/stages/rl/progress", data=row.model_dump_json())
    return reply


async def test_a_full_volume_is_told_until_there_is_room(
    core: Any, client: TestClient[Any, Any]
) -> None:
    limit(core, core.db.value("PRAGMA page_count"))
    reply: Any = await report(client, 1)
    assert reply.status == 503
    assert "full" in (await reply.json())["error"]
    volume.look(core)
    problem = state.assemble(core).problem
    assert problem is not None
    assert problem.reason == "LedgerUnusable"
    limit(core, PLENTY)
    volume.look(core)
    assert state.assemble(core).problem is None
    assert (await report(client, 1)).status == 200


async def test_one_small_write_that_fits_is_not_the_end_of_it(
    core: Any, client: TestClient[Any, Any]
) -> None:
    """The problem would come and go with each call."""
    pages = core.db.value("PRAGMA page_count")
    limit(core, pages)
    assert (await report(client, 1)).status == 503
    limit(core, pages + 20)
    assert (await report(client, 1)).status == 200
    volume.look(core)
    assert state.assemble(core).problem is not None
