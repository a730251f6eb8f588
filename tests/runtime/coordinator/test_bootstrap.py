"""A ledger that a checkpoint has overtaken is restored once, however often it is asked for."""

import asyncio
import threading
from pathlib import Path

import pytest

from sea_runtime.coordinator import snapshot
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.memory_store import MemoryStore
from sea_testing.waiting import HANG_S


async def test_a_repeated_request_for_a_batch_meets_the_same_newer_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank 0 asks again while its first request still reads: neither may fail the attempt."""
    core = kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock(), MemoryStore())
    both = threading.Barrier(2)

    def read(*_: object) -> snapshot.Checkpoint:
        both.wait(HANG_S)
        return snapshot.Checkpoint("rl", kit.entry(7))

    monkeypatch.setattr(snapshot, "newest_checkpoint", read)
    asked = (core.bootstrap.catch_up("rl", 3) for _ in range(2))
    assert await asyncio.gather(*asked) == [True, True]
    assert not core.ledger.available
