"""Nothing leaves the coordinator that a power failure could take back, and no disk stops it."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from sea_runtime.coordinator import app
from sea_runtime.coordinator.app import Components
from sea_runtime.coordinator.errors import LedgerUnavailableError
from sea_runtime.coordinator.ledger import durability
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.ledger.durability import Durability
from sea_testing.coordinator import inprocess as kit
from sea_testing.waiting import HANG_S, wait_for


class Disk:
    """Holds each fsync of the log until it is released."""

    def __init__(self) -> None:
        self.calls = 0
        self.released = threading.Event()

    def sync(self, ledger: Path) -> None:
        self.calls += 1
        assert self.released.wait(HANG_S)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk()
    monkeypatch.setattr(durability, "sync_log", found.sync)
    return found


@pytest.fixture
def core(tmp_path: Path) -> Components:
    return kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock())


@pytest.fixture
async def client(core: Components) -> AsyncIterator[TestClient[Any, Any]]:
    headers = {"Authorization": "Bearer token"}
    async with TestClient(TestServer(app.serve(core, "token")), headers=headers) as client:
        yield client


async def put_spec(client: TestClient[Any, Any], generation: int) -> int:
    body = kit.desired(kit.spec(), generation=generation).model_dump_json(by_alias=True)
    async with client.put("/v1/spec", data=body) as reply:
        return reply.status


async def test_no_answer_leaves_before_what_it_tells_of_is_on_the_disk(
    core: Components, client: TestClient[Any, Any], disk: Disk
) -> None:
    """Neither to who changed it nor to who asks for the state; one fsync does for both."""
    change = asyncio.create_task(put_spec(client, 2))
    await asyncio.to_thread(wait_for, "the fsync", lambda: disk.calls)
    assert core.job.desired.spec_generation == 2, "the loop goes on"
    look = asyncio.ensure_future(client.get("/v1/state"))
    done, _ = await asyncio.wait([change, look], timeout=0.2)
    assert not done
    disk.released.set()
    assert await change == 200
    assert (await look).status == 200
    assert disk.calls == 1
    assert (await client.get("/v1/state")).status == 200
    assert disk.calls == 1, "nothing has changed since"


async def test_a_disk_that_refuses_is_a_sentence_and_the_call_comes_again(
    client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(ledger: Path) -> None:
        raise LedgerUnavailableError("The coordinator can't write its ledger.")

    monkeypatch.setattr(durability, "sync_log", refuse)
    assert await put_spec(client, 2) == 503
    monkeypatch.undo()
    assert await put_spec(client, 2) == 200


async def test_a_commit_during_an_fsync_gets_one_of_its_own(tmp_path: Path, disk: Disk) -> None:
    with closing(Database(tmp_path / "ledger.sqlite")) as db:
        waiting = Durability()
        db.put_text("first", "x")
        first = asyncio.create_task(waiting.wait(db))
        await asyncio.to_thread(wait_for, "the fsync", lambda: disk.calls)
        db.put_text("second", "x")
        second = asyncio.create_task(waiting.wait(db))
        disk.released.set()
        await asyncio.gather(first, second)
        assert disk.calls == 2


def test_a_commit_never_waits_for_the_disk(tmp_path: Path) -> None:
    """Neither by fsync nor by copying the log back; deleted bytes are not overwritten."""
    with closing(Database(tmp_path / "ledger.sqlite")) as db:
        found = {name: db.value(f"PRAGMA {name}") for name in ("synchronous", "secure_delete")}
        assert found == {"synchronous": 1, "secure_delete": 0}
        with db.transaction():
            for number in range(200):
                db.run("INSERT INTO documents VALUES (?, ?)", str(number), "x" * 100_000)
        assert db.path.stat().st_size < 1 << 20, "all of it is in the log"
        durability.copy_back(db.path)
        assert db.path.stat().st_size > durability.LOG_BYTES
        with closing(sqlite3.connect(db.path)) as other:
            assert other.execute("SELECT COUNT(*) FROM documents").fetchone() == (200,)


def test_the_log_of_a_ledger_is_where_sqlite_has_it(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "ledger.sqlite")) as db:
        db.put_text("name", "body")
        assert durability.log_of(db.path).stat().st_size > 0
        durability.sync_log(db.path)
