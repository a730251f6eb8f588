"""A real coordinator process and what goes wrong around it: kills, lost volumes, bad data."""

import json
import random
import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest

from sea_api.v1alpha1.data import OnBadRow
from sea_testing.coordinator.crew import crew, everybody
from sea_testing.coordinator.job import Job
from sea_testing.coordinator.program import only_rl
from sea_testing.coordinator.rows import task_row
from sea_testing.waiting import HANG_S, wait_for

pytestmark = pytest.mark.component


def rl_only(job: Job, **rl: Any) -> Any:
    return job.spec(only_rl(job.root, **rl), userModel={"engine": "Scripted"})


def query(job: Job, sql: str) -> list[Any]:
    with closing(sqlite3.connect(job.data_dir / "ledger.sqlite")) as connection:
        return connection.execute(sql).fetchall()


def assert_every_batch_once(job: Job, trainer: Any, steps: int) -> None:
    """All steps, no group twice, and a step asked for again had the very same bytes."""
    used = [group for step in range(1, steps + 1) for group in trainer.groups["rl", step]]
    assert len(used) == len(set(used)) == 3 * steps
    for hashes in trainer.batches.values():
        assert len(set(hashes)) == 1
    states = dict(query(job, "SELECT state, COUNT(*) FROM groups GROUP BY state"))
    assert states["Covered"] == 3 * steps
    assert not {"Assigned", "Running", "Issued", "Admitted"} & set(states)


def test_a_coordinator_killed_at_random_moments_loses_nothing(job: Job) -> None:
    """kill -9 while everybody hammers it: the job ends as if nothing had happened."""
    spec = rl_only(job, steps=12)
    job.start()
    trainer, second, *workers, _ = everybody(job)
    moments = random.Random(4)
    with crew(job, spec, trainer, second, *workers) as operator:
        for _ in range(6):
            operator.complete.wait(moments.uniform(0.3, 1.2))
            job.kill()
            job.start()
        operator.finishes()
    assert_every_batch_once(job, trainer, 12)
    done = query(job, "SELECT COUNT(*), COUNT(DISTINCT lease_id) FROM episodes WHERE reward >= 0")
    assert done[0][0] == done[0][1]
    accepted = [lease for worker in workers for lease in worker.counted]
    assert len(accepted) == len(set(accepted))


def test_episodes_of_workers_that_fail_or_die_are_run_again(job: Job) -> None:
    """Lost workers and missing verdicts are run again, never counted as zero."""
    spec = rl_only(job, steps=5)
    job.start()
    trainer, second, *workers, _ = everybody(job)
    for worker in workers:  # whichever of them gets the most episodes
        worker.broken, worker.lost = 0.3, 0.1
    with crew(job, spec, trainer, second, *workers) as operator:
        operator.finishes()
    assert_every_batch_once(job, trainer, 5)
    assert query(job, "SELECT SUM(failures) FROM episodes")[0][0] > 0
    assert not query(job, "SELECT 1 FROM episodes WHERE state = 'Done' AND reward IS NULL")


def test_a_killed_trainer_replays_the_same_batches(job: Job) -> None:
    """A failed attempt: the next one starts at the checkpoint with the very same batches."""
    spec = rl_only(job, steps=6)
    job.start()
    trainer, second, *workers, _ = everybody(job)
    trainer.crash_after = 3
    with crew(job, spec, trainer, second, *workers) as operator:
        operator.finishes()
        state = job.state()
    assert state.attempt == operator.attempt == 2
    assert len(trainer.batches["rl", 3]) == 2
    assert_every_batch_once(job, trainer, 6)
    assert state.stages[0].step == 6
    assert state.goodput is not None
    assert 0 < state.goodput <= 1


def test_a_lost_volume_is_restored_from_the_checkpoint(job: Job) -> None:
    """An empty volume restores the ledger; a trainer that is further has to go back."""
    spec = rl_only(job, steps=8)
    job.start()
    trainer, second, *workers, _ = everybody(job)
    trainer.hold_after = 4
    with crew(job, spec, trainer, second, *workers) as operator:
        wait_for("a checkpoint", lambda: (s := job.safe_state()) and s.checkpoint)
        job.kill()
        job.wipe()
        job.start()
        trainer.hold_after = None
        operator.finishes()
        state = job.state()
    assert "ledger is restored from" in job.log.read_text()
    assert state.stages[0].step == 8
    used = [group for step in range(1, 9) for group in trainer.groups["rl", step]]
    assert len(used) == len(set(used)) == 24


def test_a_drained_job_resumes_with_an_empty_volume(job: Job) -> None:
    """Suspend commits a checkpoint and the ledger; resume goes on from there, volume or not."""
    spec = rl_only(job, steps=8)
    job.start()
    trainer, second, *workers, _ = everybody(job)
    trainer.hold_after = 3
    with crew(job, spec, trainer, second, *workers) as operator:
        wait_for("two steps", lambda: job.step() >= 2)
        operator.drain = True
        wait_for("the order to drain", operator.obeyed)
        trainer.hold_after = None
        wait_for("the drain", lambda: (s := job.safe_state()) and s.drained)
        before = job.state()
        groups = query(job, "SELECT id, state FROM groups WHERE state = 'Admitted' ORDER BY id")
        job.kill()
        job.wipe()
        job.start()
        operator.drain = False
        wait_for("the ledger", lambda: (s := job.safe_state()) and s.uid)
        known = dict(query(job, "SELECT id, state FROM groups"))
        assert all(known[name] != "Running" for name, _ in groups)
        operator.finishes()
    assert before.checkpoint is not None
    assert before.checkpoint.step == before.stages[0].step
    assert trainer.stopped
    assert_every_batch_once(job, trainer, 8)


def test_missing_data_stalls_the_job_until_it_is_corrected(job: Job) -> None:
    """A wrong address stalls the job with a sentence; the right one starts it, no pod touched."""
    job.start()
    wrong = rl_only(job)
    wrong = wrong.model_copy(
        update={"data": wrong.data.model_copy(update={"rl": [f"{job.root}/nowhere.jsonl"]})}
    )
    job.put_spec(job.desired(wrong))
    problem = wait_for("the problem", lambda: job.state().problem)
    assert problem.reason == "DataNotFound"
    assert f"{job.root}/nowhere.jsonl" in problem.message
    assert job.phase() == "Pending"
    job.put_spec(job.desired(rl_only(job)))
    wait_for("the cure", lambda: job.state().problem is None)
    assert job.state().skipped_rows == {}
    wait_for("the stage", lambda: job.phase() == "Running")


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
def test_a_bad_row_is_reported_with_file_and_line(
    job: Job, row: Any, reason: str, words: list[str]
) -> None:
    """File, line and reason of the first bad row."""
    good = json.dumps(task_row(1)).encode()
    bad = row if isinstance(row, bytes) else json.dumps({**task_row(2), **row}).encode()
    job.store.put(f"{job.root}/rl.jsonl", good + b"\n" + bad + b"\n")
    job.start()
    job.put_spec(job.desired(rl_only(job)))
    problem = wait_for("the problem", lambda: job.state().problem)
    assert problem.reason == reason
    assert all(word in problem.message for word in words), problem.message


def test_bad_rows_are_skipped_if_asked(job: Job) -> None:
    """onBadRow: Skip leaves the row out and goes on."""
    rows = [task_row(1), task_row(2) | {"db_path": "/etc/passwd"}, task_row(3)]
    job.put_rows("rl.jsonl", rows)
    spec = rl_only(job)
    data = spec.data.model_copy(update={"on_bad_row": OnBadRow.SKIP})
    job.start()
    job.put_spec(job.desired(spec.model_copy(update={"data": data})))
    wait_for("the stage", lambda: job.phase() == "Running")
    assert "'BadDatabasePath': 1" in job.log.read_text()
    assert job.state().skipped_rows == {"BadDatabasePath": 1}


def test_an_object_that_is_corrected_in_place_is_read_again(job: Job) -> None:
    """The data are read again while there is a problem."""
    job.store.put(f"{job.root}/rl.jsonl", b"oops\n")
    job.start()
    job.put_spec(job.desired(rl_only(job)))
    problem = wait_for("the problem", lambda: job.state().problem)
    assert "rl.jsonl" in problem.message
    assert job.phase() != "Running"
    job.put_rows("rl.jsonl", [task_row(1)])
    wait_for("the stage", lambda: job.phase() == "Running")
    wait_for("the cure", lambda: job.state().problem is None)


def test_an_outage_of_s3_makes_the_pod_unready_and_costs_nothing(job: Job) -> None:
    """Readiness says so, work waits, and everything goes on afterwards."""
    spec = rl_only(job, steps=8)
    job.start()
    trainer, second, *workers, _ = everybody(job)
    trainer.hold_after = 5
    with crew(job, spec, trainer, second, *workers) as operator:
        wait_for("a step", lambda: job.step() >= 1)
        job.s3.stop()
        trainer.hold_after = None
        wait_for("unready", lambda: job.get("/readyz").status == 503)
        assert job.get("/healthz").status == 200
        job.s3.start()
        operator.finishes()
    assert_every_batch_once(job, trainer, 8)


def test_clients_wait_for_a_coordinator_that_is_away(job: Job) -> None:
    """Calls made while it is down succeed once it is back."""
    job.start()
    job.put_spec(job.desired(rl_only(job)))
    wait_for("the stage", lambda: job.phase() == "Running")
    job.kill()
    replies: list[Any] = []
    call = threading.Thread(target=lambda: replies.append(job.client().model("policy")))
    call.start()
    job.start()
    call.join(HANG_S)
    assert replies
    model = wait_for("the base model", lambda: job.client().model("policy"))
    assert model.dequantize, "a stage trains it, so its engines must be able to take new versions"
