"""What a ledger that is restored goes on from: which checkpoint, and which weight versions."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from sea_api.v1alpha1.job import Spec
from sea_runtime.coordinator import app, bootstrap, snapshot
from sea_runtime.coordinator.app import Components, Settings
from sea_runtime.coordinator.ledger import progress
from sea_runtime.trainer.checkpoint import head as heads
from sea_runtime.wire.checkpoints import Head
from sea_runtime.wire.trainer import CheckpointCommitted
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


STAGES: list[dict[str, Any]] = [
    {"name": "user-sft", "type": "UserSFT", "userSFT": {"data": ["s3://bucket/user.jsonl"]}},
    {"name": "sft", "type": "SFT", "sft": {}},
    {"name": "eval", "type": "Evaluation", "evaluation": {}},
    {"name": "rl", "type": "RL", "rl": {"steps": 3}},
]


def spec() -> Spec:
    """With a served user model, which the first stage trains."""
    known = kit.spec().model_dump(mode="json", by_alias=True, exclude_unset=True)
    user = {"engine": "VLLM", "gpusPerPod": 0}
    return Spec.model_validate(known | {"userModel": user, "stages": STAGES})


CHECKPOINTS = "x/job/stages/{}/checkpoints"


@pytest.mark.parametrize(
    ("stage", "checkpoint", "line"),
    [
        ("rl", ("rl", 2, 3), {"policy": 3, "user": 1}),
        # A supervised stage publishes its version after its last checkpoint, which has the one
        # before.
        ("rl", ("sft", 9, 0), {"policy": 1, "user": 1}),
        ("eval", ("sft", 9, 0), {"policy": 1, "user": 1}),
        ("sft", ("sft", 4, 0), {"policy": 0, "user": 1}),
        ("sft", ("user-sft", 9, 0), {"policy": 0, "user": 1}),
        ("user-sft", ("user-sft", 4, 0), {"policy": 0, "user": 0}),
        ("user-sft", None, {"policy": 0, "user": 0}),
    ],
)
def test_the_newest_version_of_each_stream_that_a_restored_ledger_goes_on_from(
    tmp_path: Path, stage: str, checkpoint: tuple[str, int, int] | None, line: dict[str, int]
) -> None:
    """Also of the stream that the checkpoint's stage doesn't train."""
    index = [one["name"] for one in STAGES].index(stage)
    desired = kit.desired(spec(), stage=index)
    core = kit.coordinator(tmp_path, desired, kit.Clock(), MemoryStore())
    found = None
    if checkpoint is not None:
        name, step, version = checkpoint
        entry = kit.entry(step).model_copy(update={"version": version})
        found = snapshot.Checkpoint(name, entry)
    assert bootstrap.line_of(core.ledger.db, desired, found, None) == line


def opened(folder: Path, store: MemoryStore, desired: Any) -> Components:
    """A coordinator that starts on the folder's volume."""
    settings = Settings("job", "ns", kit.UID, "token", "127.0.0.1", folder)
    objects: Any = store
    core = app.Components(settings, objects, objects, wall=kit.Clock(), clock=kit.Clock())
    core.job.request(desired)
    asyncio.run(core.bootstrap.open())
    return core


def commit(
    core: Components, store: MemoryStore, stage: str, step: int, version: int, attempt: int = 1
) -> None:
    """A checkpoint whose ledger is the coordinator's now."""
    asyncio.run(core.snapshots.take(stage, step, attempt))
    key = f"{CHECKPOINTS.format(stage)}/step-{step:06d}-a{attempt}/manifest.json"
    entry = kit.entry(step, key).model_copy(update={"version": version})
    head, _ = heads.append(heads.fence(Head(), attempt), entry, attempt, 2, None)
    store.put(f"s3://bucket/{CHECKPOINTS.format(stage)}/head.json", head.model_dump_json().encode())


def test_an_evaluation_after_a_lost_volume_has_the_weights_of_the_stage_before(
    tmp_path: Path,
) -> None:
    """They are published after its last checkpoint: without them the base model is evaluated."""
    store = MemoryStore()
    first = opened(tmp_path / "first", store, kit.desired(spec(), stage=1))
    commit(first, store, "sft", 9, 0)
    trained = kit.version(1, anchor=True).model_copy(update={"stage": "sft"})
    first.weights.publish(trained)
    first.weights.keep_manifest(trained)
    assert first.weights.newest("policy") == 1
    second = opened(tmp_path / "second", store, kit.desired(spec(), stage=2))
    assert (second.weights.newest("policy"), second.weights.required("policy")) == (1, 1)
    reply = kit.some(second.weights.query("policy", 0))
    assert kit.some(reply.newest).version == 1


def test_a_stage_begins_from_scratch_once_its_head_was_deleted(tmp_path: Path) -> None:
    """As the trainer's error advises where all checkpoints are damaged: no batch is gone then."""
    store, desired = MemoryStore(), kit.desired(kit.spec())
    core = opened(tmp_path / "volume", store, desired)
    kit.fix_batches(core, 2)
    commit(core, store, "rl", 2, 2)
    message = CheckpointCommitted(attempt=1, step=2, version=2, bytes=1, manifest_key="k")
    core.training.committed("rl", message)
    head = f"s3://bucket/{CHECKPOINTS.format('rl')}/head.json"
    store.delete(head)
    core.job.adopt(kit.desired(kit.spec(), attempt=2))
    assert not asyncio.run(core.bootstrap.go_back("rl", 1)), "nobody has opened the stage"
    store.put(head, heads.fence(Head(), 2).model_dump_json().encode())
    assert not asyncio.run(core.bootstrap.go_back("rl", 2))
    assert asyncio.run(core.bootstrap.go_back("rl", 1))
    asyncio.run(core.bootstrap.open())
    assert progress.last_committed(core.ledger.db, "rl") == 0
    assert not core.ledger.db.rows("SELECT * FROM batches")
    went = kit.some(core.state.assemble().rollback)
    assert (went.stage, went.from_step, went.step) == ("rl", 2, 0)
    assert json.loads(store.get(head))["opened"] == core.job.attempt == 2


def test_a_checkpoint_is_restored_from_once_and_that_of_another_line_too(tmp_path: Path) -> None:
    """A stage that begins from scratch comes to the same step again, by another attempt."""
    store = MemoryStore()
    core = opened(tmp_path / "volume", store, kit.desired(kit.spec()))

    def catches_up() -> bool:
        newer = asyncio.run(core.bootstrap.catch_up("rl", 0))
        asyncio.run(core.bootstrap.open())
        return newer

    kit.fix_batches(core, 2)
    commit(core, store, "rl", 2, 2)
    assert catches_up()
    assert not catches_up(), "the restore has not helped: the trainer goes back"
    store.delete(f"s3://bucket/{CHECKPOINTS.format('rl')}/head.json")
    core.bootstrap.restore_again()
    asyncio.run(core.bootstrap.open())
    kit.fix_batches(core, 2)
    commit(core, store, "rl", 2, 2, attempt=2)
    assert catches_up()
    assert not catches_up()
