"""A full volume is reported and cleared again; SQLite's own limit on pages stands for it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sea_runtime.coordinator import app, stage_controller
from sea_runtime.coordinator.app import Components
from sea_runtime.coordinator.errors import LedgerUnavailableError
from sea_runtime.coordinator.ledger import copies, trajectories
from sea_runtime.wire.trainer import StageProgress
from sea_testing.coordinator import inprocess as kit

PLENTY = 1 << 20


@pytest.fixture
def core(tmp_path: Path) -> Components:
    return kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock())


@pytest.fixture
async def client(core: Components) -> AsyncIterator[TestClient[Any, Any]]:
    headers = {"Authorization": "Bearer token"}
    async with TestClient(TestServer(app.serve(core, "token")), headers=headers) as client:
        yield client


def limit(core: Components, pages: int) -> None:
    core.ledger.db.value(f"PRAGMA max_page_count = {pages}")


async def report(client: TestClient[Any, Any], step: int) -> web.Response:
    metrics = {f"a-long-name-of-a-metric-{i}": 0.5 for i in range(500)}
    row = StageProgress(attempt=1, step=step, total_steps=3, metrics=metrics)
    reply: Any = await client.post("/v1/stages/rl/progress", data=row.model_dump_json())
    return reply


async def test_a_full_volume_is_reported_until_there_is_room(
    core: Components, client: TestClient[Any, Any]
) -> None:
    limit(core, core.ledger.db.value("PRAGMA page_count"))
    reply: Any = await report(client, 1)
    assert reply.status == 503
    assert "full" in (await reply.json())["error"]
    stage_controller.probe_room(core.ledger.db, core.problems)
    problem = core.state.assemble().problem
    assert problem is not None
    assert problem.reason == "LedgerUnusable"
    limit(core, PLENTY)
    stage_controller.probe_room(core.ledger.db, core.problems)
    assert core.state.assemble().problem is None
    assert (await report(client, 1)).status == 200


async def test_one_small_write_that_fits_does_not_clear_the_problem(
    core: Components, client: TestClient[Any, Any]
) -> None:
    """The problem would come and go with each call."""
    pages = core.ledger.db.value("PRAGMA page_count")
    limit(core, pages)
    assert (await report(client, 1)).status == 503
    limit(core, pages + 20)
    assert (await report(client, 1)).status == 200
    stage_controller.probe_room(core.ledger.db, core.problems)
    assert core.state.assemble().problem is not None


def test_a_snapshot_that_does_not_fit_is_a_full_volume_too(core: Components) -> None:
    """Rank 0 then asks again; the drain is tried again."""
    ledger = core.ledger.db.path
    with (
        kit.no_room(ledger.with_name("ledger.sqlite-shm")),
        pytest.raises(LedgerUnavailableError, match="PersistentVolumeClaim"),
    ):
        copies.copy(ledger, ledger.with_name("copy.sqlite"), core.files, None)


async def test_a_trajectory_that_does_not_fit_is_a_full_volume_too(core: Components) -> None:
    """The worker sends it again; no part of it stays."""
    body = b"x" * (trajectories.INLINE_BYTES + 1)
    full = kit.no_room(core.ledger.db.path.with_name("ledger.sqlite-shm"))
    with full, pytest.raises(LedgerUnavailableError, match="PersistentVolumeClaim"):
        async with core.files.stored(body):
            pytest.fail("there is no room")
    assert await core.files.sweep(core.ledger.db) == 1
    assert list(core.files.folder.iterdir()) == []
