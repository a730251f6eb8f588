"""A snapshot that is asked for again while it is uploaded."""

import asyncio
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from sea_runtime.coordinator import snapshot
from sea_runtime.coordinator.snapshot import Snapshots
from sea_runtime.wire.trainer import LedgerSnapshot
from sea_testing.waiting import HANG_S


async def test_one_object_is_never_written_twice_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0's call times out and is repeated: the slower upload would replace the other's bytes,
    and the manifest name a size and a SHA-256 that the object no longer has."""
    may_end = Event()
    began: list[Any] = []

    def upload(*args: Any) -> LedgerSnapshot:
        began.append(args)
        assert may_end.wait(HANG_S)
        return LedgerSnapshot(key="k", size=len(began), sha256="s")

    monkeypatch.setattr(snapshot, "upload", upload)
    job: Any = SimpleNamespace(desired=SimpleNamespace(run_url="s3://b/run"))
    ledger: Any = SimpleNamespace(db=SimpleNamespace(path=Path("ledger")))
    nothing: Any = None
    snapshots = Snapshots(job, ledger, nothing, nothing)
    first = asyncio.ensure_future(snapshots.take("rl", 4, 1))
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.ensure_future(snapshots.take("rl", 4, 1))
    await asyncio.sleep(0.05)
    may_end.set()
    assert (await second).size == 1
    assert (await snapshots.take("rl", 4, 1)).size == 2, "repeated later: the object anew"
