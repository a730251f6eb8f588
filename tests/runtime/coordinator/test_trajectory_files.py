"""Large trajectories are files: the same bytes for trainer and snapshots, gone afterwards."""

import asyncio
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from sea_runtime.coordinator import snapshot
from sea_runtime.coordinator.app import Components
from sea_runtime.coordinator.errors import GoneError
from sea_runtime.coordinator.ledger import batches, copies
from sea_runtime.coordinator.ledger.copies import Covered
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.ledger.fixed_batch import FixedBatch
from sea_runtime.coordinator.ledger.trajectories import INLINE_BYTES
from sea_runtime.wire.rollouts import Batch, Lease, LeaseRequest, Trajectory
from sea_runtime.wire.trainer import CheckpointCommitted
from sea_testing.coordinator import inprocess as kit

POD, LIFE = "rollout-0", "life"


@pytest.fixture
def core(tmp_path: Path) -> Components:
    core = kit.coordinator(tmp_path, kit.desired(kit.spec(maxStaleness=2)), kit.Clock())
    core.heartbeats.heard(kit.beat(POD, "rollout", LIFE, adopted=0))
    return core


def leases(core: Components) -> list[Lease]:
    found = core.scheduler.lease(LeaseRequest(pod=POD, incarnation=LIFE, want=4))
    return kit.some(found).leases


def body(lease: Lease, size: int) -> bytes:
    return f"{lease.group_id}.{lease.sample}.".encode().ljust(size, b"x")


async def deliver(core: Components, lease: Lease, size: int) -> bool:
    reward = float(lease.sample % 2)
    sent = msgspec.structs.replace(
        kit.result(lease, POD, LIFE, reward), trajectory=body(lease, size)
    )
    async with core.files.stored(sent.trajectory) as file:
        return core.scheduler.result(sent, file)


async def full_batches(core: Components, sizes: list[int]) -> None:
    """As many steps' batches as sizes are given, with trajectories of those sizes."""
    for step, size in enumerate(sizes, 1):
        while core.training.batch("rl", step, 1) is None:
            for lease in leases(core):
                assert await deliver(core, lease, size)


def files(core: Components) -> int:
    return len(list(core.files.folder.iterdir())) if core.files.folder.is_dir() else 0


def commit(core: Components, step: int) -> None:
    message = CheckpointCommitted(attempt=1, step=step, version=step, bytes=1, manifest_key="k")
    core.training.committed("rl", message)


async def test_a_batch_has_the_bytes_that_workers_sent(core: Components) -> None:
    await full_batches(core, [INLINE_BYTES + 1, 100])
    large, small = (
        msgspec.msgpack.decode(kit.some(kit.batch(core, step)), type=Batch) for step in (1, 2)
    )
    for batch, size in ((large, INLINE_BYTES + 1), (small, 100)):
        for group in batch.groups:
            for sample, sent in enumerate(group.trajectories):
                assert sent == f"{group.group_id}.{sample}.".encode().ljust(size, b"x")
    assert files(core) >= 4, "those of the first step at least"


async def test_files_go_once_a_checkpoint_covers_them_and_not_before(core: Components) -> None:
    await full_batches(core, [INLINE_BYTES + 1, INLINE_BYTES + 1])
    plan = core.training.batch("rl", 1, 1)
    assert isinstance(plan, FixedBatch)
    before = files(core)
    assert await core.files.sweep(core.ledger.db) == 0
    commit(core, 1)
    assert await core.files.sweep(core.ledger.db) == 4
    assert files(core) == before - 4
    with pytest.raises(GoneError, match="covered by a committed checkpoint"):
        plan.open()
    assert kit.batch(core, 2)


async def test_a_result_that_is_refused_or_cut_off_leaves_nothing(core: Components) -> None:
    (lease, *_) = leases(core)
    assert await deliver(core, lease, INLINE_BYTES + 1)
    assert await deliver(core, lease, INLINE_BYTES + 1), "sent again, acknowledged, not kept twice"
    async with core.files.stored(b"x" * (INLINE_BYTES + 1)):
        assert await core.files.sweep(core.ledger.db) == 1, "of the second, not of this one"
    assert await core.files.sweep(core.ledger.db) == 1
    assert files(core) == 1


async def test_a_snapshot_is_one_file_without_what_is_covered(
    core: Components, tmp_path: Path
) -> None:
    size = 8 * INLINE_BYTES
    await full_batches(core, [size, size])
    copied = tmp_path / "copy" / "ledger.sqlite"
    copied.parent.mkdir()
    copies.copy(core.ledger.db.path, copied, core.files, Covered("rl", 1))
    snapshot.strip(copied, Covered("rl", 1))
    kept = kit.some(kit.batch(core, 2))
    assert copied.stat().st_size < 1.6 * len(kept), "the first step's bytes are not in it"
    with closing(Database(copied)) as db:
        assert kit.whole(batches.fixed(db, "rl", 2)) == kept
        with pytest.raises(GoneError):
            batches.fixed(db, "rl", 1)
        tables = ("groups", "episodes", "batches", "documents", "stages", "sqlite_sequence")
        for table in tables:
            count = f"SELECT COUNT(*) FROM {table}"
            assert db.value(count) == core.ledger.db.value(count), table
        assert db.value("PRAGMA integrity_check") == "ok"
        assert db.value("SELECT COUNT(*) FROM sqlite_schema") == core.ledger.db.value(
            "SELECT COUNT(*) FROM sqlite_schema"
        )


@pytest.mark.parametrize("experts", [0, 5, INLINE_BYTES])
def test_a_copy_has_no_experts_and_else_the_same(experts: int) -> None:
    """With them a checkpoint's ledger would have gigabytes that only a lost volume asks for."""
    arrays = ([1, 2], [0, 1], [0.0, -1.0], [-1, 3], [1])
    sent = Trajectory.pack(*arrays, experts=[b"e" * experts] * 2 if experts else ())
    kept = copies.without_experts(sent.encode())
    assert kept == Trajectory.pack(*arrays).encode()
    for other in (b"", b"no trajectory", kept[:-1]):
        assert copies.without_experts(other) == other


async def test_no_file_goes_while_a_snapshot_reads(core: Components) -> None:
    await full_batches(core, [INLINE_BYTES + 1])
    commit(core, 1)
    with core.files.reading:
        assert await core.files.sweep(core.ledger.db) == 0
    assert await asyncio.wait_for(core.files.sweep(core.ledger.db), 10) == 4
