"""Going back to a checkpoint, pass by pass: never under processes that train already."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from sea_api.wire.coordinator_spec import RollbackOrder
from sea_runtime.coordinator import snapshot
from sea_runtime.coordinator.app import Components
from sea_runtime.coordinator.errors import LedgerError
from sea_runtime.coordinator.ledger import lineage, progress
from sea_runtime.coordinator.problems import Source, problem_of
from sea_runtime.wire.membership import PodState
from sea_runtime.wire.rollouts import LeaseRequest
from sea_runtime.wire.trainer import CheckpointCommitted
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.memory_store import MemoryStore

FOLDER = "x/job/stages/rl/checkpoints"
HEAD = f"s3://bucket/{FOLDER}/head.json"


def put_checkpoints(store: MemoryStore, *steps: int) -> None:
    entries: list[dict[str, Any]] = []
    for step in steps:
        key, body = f"{FOLDER}/step-{step:06d}-a1", f"ledger of step {step}".encode()
        ledger: dict[str, Any] = {"key": f"{key}/ledger.sqlite", "name": "", "size": len(body)}
        ledger["sha256"] = hashlib.sha256(body).hexdigest()
        manifest = {"format": 2, "step": step, "objects": [], "ledger": ledger}
        store.put(f"s3://bucket/{ledger['key']}", body)
        store.put(f"s3://bucket/{key}/manifest.json", json.dumps(manifest).encode())
        entry: dict[str, Any] = {"step": step, "version": step, "bytes": 1, "time": 1.0}
        entries.append({**entry, "manifest_key": f"{key}/manifest.json"})
    store.put(HEAD, json.dumps({"attempt": 1, "checkpoints": entries}).encode())


def follow(core: Components) -> None:
    desired = core.job.desired
    assert desired.rollback is not None
    asyncio.run(core.rollbacks.follow(desired, desired.rollback))


def test_a_refused_request_never_goes_back_under_the_attempt_that_trains(tmp_path: Path) -> None:
    """An object that is put back a moment later; the operator hears of the refusal first."""
    store, order = MemoryStore(), RollbackOrder(stage="rl", step=1, generation=7, attempt=2)
    put_checkpoints(store, 2)
    desired = kit.desired(kit.spec(), attempt=2, rollback=order)
    core = kit.coordinator(tmp_path, desired, kit.Clock(), store)
    follow(core)
    for rank in (0, 1):
        beat = kit.beat(f"job-trainer-{rank}", "trainer", "life", state=PodState.STARTING)
        core.heartbeats.heard(beat)
    assert core.rendezvous.rank_pods, "the attempt goes on from the newest checkpoint"
    put_checkpoints(store, 1, 2)
    follow(core)
    assert core.ledger.available
    assert "rollback" not in json.loads(store.get(HEAD))
    refused = lineage.check_of(core.ledger.db, core.job.desired)
    assert refused is not None
    assert refused.problem
    # The operator has heard, and asks again for another attempt.
    asked = order.model_copy(update={"attempt": None})
    core.job.adopt(kit.desired(kit.spec(), attempt=2, rollback=asked))
    follow(core)
    core.job.adopt(
        kit.desired(kit.spec(), attempt=3, rollback=order.model_copy(update={"attempt": 3}))
    )
    follow(core)
    assert not core.ledger.available
    assert json.loads(store.get(HEAD))["rollback"]["step"] == 1


@pytest.mark.parametrize(
    ("adopted", "attempt", "left"),
    [
        (None, 0, False),
        (0, 0, False),
        (5, 1, False),
        (6, 1, True),
        (6, 2, True),
        (6, 3, False),
        (9, 4, False),
    ],
)
def test_an_engine_is_judged_by_number_and_attempt_of_what_it_serves(
    adopted: int | None, attempt: int, left: bool, tmp_path: Path
) -> None:
    """Also one that adopts a version of the line that was left only after training has gone back,
    since it was fetching it, and one that was silent: both come with the next line's numbers."""
    core = kit.coordinator(tmp_path, kit.desired(kit.spec(), attempt=3), kit.Clock(), MemoryStore())
    lineage.leave_behind(core.ledger.db, "policy", 5, 3)
    kit.fix_batches(core, 9)
    beat = kit.beat("r", "rollout", "life", adopted=adopted, adopted_attempt=attempt)
    assert core.heartbeats.heard(beat).restart == left
    stage, asked = kit.some(core.job.stage), LeaseRequest(pod="r", incarnation="life", want=1)
    assert core.scheduler._may_lease(stage, asked) == (adopted is not None and not left)
    other = beat.model_copy(update={"pod": "u", "role": "user"})
    assert not core.heartbeats.heard(other).restart, "of another stream"


def test_a_report_of_the_checkpoint_that_training_went_back_to_changes_nothing(
    tmp_path: Path,
) -> None:
    """Until the ledger has followed: one that is drained before would count as that checkpoint's,
    with the groups of the later one covered."""
    core = kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock(), MemoryStore())
    kit.fix_batches(core, 3)
    for step in (3, 2):
        message = CheckpointCommitted(
            attempt=1, step=step, version=step, bytes=1, manifest_key=f"k{step}"
        )
        core.training.committed("rl", message)
    assert kit.some(progress.newest_checkpoint(core.ledger.db))["manifest_key"] == "k3"


def test_a_head_that_is_cut_off_is_named(tmp_path: Path) -> None:
    """No commit can be made without it, and nothing may be taken for the newest."""
    store: Any = MemoryStore()
    put_checkpoints(store, 1)
    store.put(HEAD, store.get(HEAD)[:-5])
    with pytest.raises(LedgerError, match=r"head\.json can't be read") as caught:
        snapshot.newest_checkpoint(store, kit.desired(kit.spec()))
    assert kit.some(problem_of(Source.LEDGER, caught.value, 1)).reason == "LedgerUnusable"


def test_going_back_twice_leaves_both_lines_behind(tmp_path: Path) -> None:
    db = kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock(), MemoryStore()).ledger.db

    def left(version: int, attempt: int) -> bool:
        beat = kit.beat("r", "rollout", "i", adopted=version, adopted_attempt=attempt)
        return lineage.is_left_behind(db, "policy", beat)

    lineage.leave_behind(db, "policy", 10, 5)
    lineage.leave_behind(db, "policy", 14, 8)
    assert [left(12, 3), left(12, 6), left(15, 6), left(15, 8)] == [True, False, True, False]
    lineage.leave_behind(db, "policy", 9, 9)
    assert [left(10, 6), left(9, 3), left(10, 9)] == [True, False, False]
