"""A real coordinator process and what goes wrong around it: kills, lost volumes, bad data."""

import json
import random
import sqlite3
import sys
import threading
from contextlib import closing
from typing import Any

import pytest

from sea_api.v1alpha1.data import OnBadRow

pytestmark = [pytest.mark.component, pytest.mark.timeout(180)]
kit: Any = sys.modules["coordinator_tests_harness"]


def rl_only(job: Any, **rl: Any) -> Any:
    return job.spec([kit.FULL_PROGRAM(job.root, rl)[3]], userModel={"engine": "Scripted"})


def query(job: Any, sql: str) -> list[Any]:
    with closing(sqlite3.connect(job.data_dir / "ledger.sqlite")) as connection:
        return connection.execute(sql).fetchall()


def assert_every_batch_once(job: Any, trainer: Any, steps: int) -> None:
    """All steps, no group twice, and a step asked for again had the very same bytes."""
    used = [group for step in range(1, steps + 1) for group in trainer.groups["rl", step]]
    assert len(used) == len(set(used)) == 3 * steps
    for hashes in trainer.batches.values():
        assert len(set(hashes)) == 1
    states = dict(query(job, "SELECT state, COUNT(*) FROM groups GROUP BY state"))
    assert states["Covered"] == 3 * steps
    assert not {"Assigned", "Running", "Issued", "Admitted"} & set(states)


def test_coordinator_killed_at_random_moments(job: Any) -> None:
    """kill -9 while everybody hammers it: the job ends as if nothing had happened."""
    spec = rl_only(job, steps=12)
    job.start()
    trainer, second, *workers, _ = kit.everybody(job)
    moments = random.Random(4)
    with kit.crew(job, spec, trainer, second, *workers) as operator:
        for _ in range(6):
            operator.complete.wait(moments.uniform(0.3, 1.2))
            job.kill()
            job.start()
        assert operator.complete.wait(100), job.state()
    assert_every_batch_once(job, trainer, 12)
    done = query(job, "SELECT COUNT(*), COUNT(DISTINCT lease_id) FROM episodes WHERE reward >= 0")
    assert done[0][0] == done[0][1]
    accepted = [lease for worker in workers for lease in worker.counted]
    assert len(accepted) == len(set(accepted))


def test_workers_that_break_and_die(job: Any) -> None:
    """Lost workers and missing verdicts are run again, never counted as zero."""
    spec = rl_only(job, steps=5)
    job.start()
    trainer, second, *workers, _ = kit.everybody(job)
    workers[0].broken, workers[1].lost = 0.3, 0.1
    with kit.crew(job, spec, trainer, second, *workers) as operator:
        assert operator.complete.wait(100), job.state()
    assert_every_batch_once(job, trainer, 5)
    assert query(job, "SELECT SUM(failures) FROM episodes")[0][0] > 0
    assert not query(job, "SELECT 1 FROM episodes WHERE state = 'Done' AND reward IS NULL")


def test_trainer_killed_replays_the_same_batches(job: Any) -> None:
    """A failed generation: the next one starts at the checkpoint with the very same batches."""
    spec = rl_only(job, steps=6)
    job.start()
    trainer, second, *workers, _ = kit.everybody(job)
    trainer.crash_after = 3
    with kit.crew(job, spec, trainer, second, *workers) as operator:
        assert operator.complete.wait(100), job.state()
        state = job.state()
    assert state.generation == operator.generation == 2
    assert len(trainer.batches["rl", 3]) == 2
    assert_every_batch_once(job, trainer, 6)
    assert state.stages[0].step == 6
    assert state.goodput is not None
    assert 0 < state.goodput <= 1


def test_lost_volume_comes_back_from_the_checkpoint(job: Any) -> None:
    """An empty volume restores the ledger; a trainer that is further has to go back."""
    spec = rl_only(job, steps=8)
    job.start()
    trainer, second, *workers, _ = kit.everybody(job)
    with kit.crew(job, spec, trainer, second, *workers) as operator:
        kit.wait_for("a checkpoint", lambda: (s := job.safe_state()) and s.checkpoint)
        job.kill()
        job.wipe()
        job.start()
        assert operator.complete.wait(100), job.state()
        state = job.state()
    assert "ledger is restored from" in job.log.read_text()
    assert state.stages[0].step == 8
    used = [group for step in range(1, 9) for group in trainer.groups["rl", step]]
    assert len(used) == len(set(used)) == 24


def test_drain_and_resume_with_an_empty_volume(job: Any) -> None:
    """Suspend commits a checkpoint and the ledger; resume goes on from there, volume or not."""
    spec = rl_only(job, steps=8)
    job.start()
    trainer, second, *workers, _ = kit.everybody(job)
    with kit.crew(job, spec, trainer, second, *workers) as operator:
        kit.wait_for("two steps", lambda: job.step() >= 2)
        operator.drain = True
        kit.wait_for("the drain", lambda: (s := job.safe_state()) and s.drained)
        before = job.state()
        groups = query(job, "SELECT id, state FROM groups WHERE state = 'Admitted' ORDER BY id")
        job.kill()
        job.wipe()
        job.start()
        operator.drain = False
        kit.wait_for("the ledger", lambda: (s := job.safe_state()) and s.uid)
        known = dict(query(job, "SELECT id, state FROM groups"))
        assert all(known[name] != "Running" for name, _ in groups)
        assert operator.complete.wait(100), job.state()
    assert before.checkpoint is not None
    assert before.checkpoint.step == before.stages[0].step
    assert trainer.stopped
    assert_every_batch_once(job, trainer, 8)


def test_missing_data_is_told_and_heals(job: Any) -> None:
    """A wrong address stalls the job with a sentence; the right one starts it, no pod touched."""
    job.start()
    wrong = rl_only(job)
    wrong = wrong.model_copy(
        update={"data": wrong.data.model_copy(update={"rl": [f"{job.root}/nowhere.jsonl"]})}
    )
    job.want(job.desired(wrong))
    problem = kit.wait_for("the problem", lambda: job.state().problem)
    assert problem.reason == "DataNotFound"
    assert f"{job.root}/nowhere.jsonl" in problem.message
    assert job.phase() == "Pending"
    job.want(job.desired(rl_only(job)))
    kit.wait_for("the cure", lambda: job.state().problem is None)
    assert job.state().skipped_rows == {}
    kit.wait_for("the stage", lambda: job.phase() == "Running")


@pytest.mark.parametrize(
    ("row", "reason", "words"),
    [
        (b'{"id": "shop_1"', "BadRow", ["rl.jsonl line 2", "JSON"]),
        (b"[1, 2]", "BadRow", ["line 2", "object"]),
        ({"db_path": "../../secret.json"}, "BadDatabasePath", ["line 2", "../../secret.json"]),
        ({"db_path": "/etc/passwd"}, "BadDatabasePath", ["line 2", "/etc/passwd"]),
        ({"db_path": "shop/missing.json"}, "DataNotFound", ["line 2", "shop/missing.json"]),
        ({"db_path": "shop/bad.json"}, "BadDatabase", ["line 2", "no table", "shop/bad.json"]),
        ({"domain": "airline", "id": "airline_1"}, "UnknownDomain", ["line 2", "airline", "shop"]),
        ({"evaluation_criteria": "{"}, "BadRow", ["line 2", "evaluation_criteria"]),
    ],
)
def test_bad_rows(job: Any, row: Any, reason: str, words: list[str]) -> None:
    """File, line and reason of the first bad row."""
    good = json.dumps(kit.task_row(1)).encode()
    bad = row if isinstance(row, bytes) else json.dumps({**kit.task_row(2), **row}).encode()
    job.store.put(f"{job.root}/rl.jsonl", good + b"\n" + bad + b"\n")
    job.start()
    job.want(job.desired(rl_only(job)))
    problem = kit.wait_for("the problem", lambda: job.state().problem)
    assert problem.reason == reason
    assert all(word in problem.message for word in words), problem.message


def test_bad_rows_are_skipped_where_asked(job: Any) -> None:
    """onBadRow: Skip leaves the row out and goes on."""
    rows = [kit.task_row(1), kit.task_row(2) | {"db_path": "/etc/passwd"}, kit.task_row(3)]
    job.put_rows("rl.jsonl", rows)
    spec = rl_only(job)
    data = spec.data.model_copy(update={"on_bad_row": OnBadRow.SKIP})
    job.start()
    job.want(job.desired(spec.model_copy(update={"data": data})))
    kit.wait_for("the stage", lambda: job.phase() == "Running")
    assert "'BadDatabasePath': 1" in job.log.read_text()
    assert job.state().skipped_rows == {"BadDatabasePath": 1}


def test_an_object_that_is_fixed_in_place_heals_by_itself(job: Any) -> None:
    """The data are read again while there is a problem."""
    job.store.put(f"{job.root}/rl.jsonl", b"oops\n")
    job.start()
    job.want(job.desired(rl_only(job)))
    problem = kit.wait_for("the problem", lambda: job.state().problem)
    assert "rl.jsonl" in problem.message
    assert job.phase() != "Running"
    job.put_rows("rl.jsonl", [kit.task_row(1)])
    kit.wait_for("the stage", lambda: job.phase() == "Running")
    assert job.state().problem is None


def test_s3_gone_for_a_while(job: Any) -> None:
    """Readiness says so, work waits, and everything goes on afterwards."""
    spec = rl_only(job, steps=8)
    job.start()
    trainer, second, *workers, _ = kit.everybody(job)
    with kit.crew(job, spec, trainer, second, *workers) as operator:
        kit.wait_for("a step", lambda: job.step() >= 1)
        job.s3.stop()
        kit.wait_for("unready", lambda: job.get("/readyz").status == 503)
        assert job.get("/healthz").status == 200
        job.s3.start()
        assert operator.complete.wait(120), job.state()
    assert_every_batch_once(job, trainer, 8)


def test_clients_wait_for_a_coordinator_that_is_away(job: Any) -> None:
    """Calls made while it is down succeed once it is back."""
    job.start()
    job.want(job.desired(rl_only(job)))
    kit.wait_for("the stage", lambda: job.phase() == "Running")
    job.kill()
    replies: list[Any] = []
    call = threading.Thread(target=lambda: replies.append(job.client().model("policy")))
    call.start()
    job.start()
    call.join(30)
    assert replies
