"""Going back to a checkpoint, pass by pass: never under processes that train already."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

from sea_api.wire.coordinator_spec import RollbackOrder
from sea_runtime.coordinator.app import Components
from sea_runtime.coordinator.ledger import rollbacks
from sea_runtime.wire.membership import PodState
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
    refused = rollbacks.check_of(core.ledger.db, core.job.desired)
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


def test_an_engine_that_was_silent_when_training_went_back_is_judged_when_it_calls(
    tmp_path: Path,
) -> None:
    """Whatever others were known then; one that starts later serves nothing when it first calls."""
    db = kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock(), MemoryStore()).ledger.db
    known = kit.beat("a", "rollout", "i", adopted=4)
    rollbacks.abandon(db, [known, kit.beat("b", "rollout", "i", adopted=9)], 5)
    silent, new = kit.beat("c", "rollout", "i", adopted=9), kit.beat("d", "rollout", "i")
    assert not rollbacks.heard(db, known)
    assert rollbacks.heard(db, silent)
    assert rollbacks.is_abandoned(db, "c")
    assert not rollbacks.heard(db, new)
    # The line that goes on has come to these versions by now.
    for later in (known, new):
        assert not rollbacks.heard(db, later.model_copy(update={"adopted": 6}))
