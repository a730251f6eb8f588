"""One whole job on a devcluster while its parts are killed one after the other.

Small on purpose: the model learns nothing in so few steps, so groups with equal rewards are kept
(`filterConstantGroups: false`); what is tested is that every step counts exactly once.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400)]

STEPS, GROUPS, SAMPLES = 24, 4, 4
SFT = {"batchSize": 16, "learningRate": 0.002, "warmupSteps": 5, "maxSteps": 12}
STAGES = [
    {"name": "sft", "type": "SFT", "sft": SFT},
    {
        "name": "rl",
        "type": "RL",
        "rl": {
            "steps": STEPS,
            "promptsPerStep": GROUPS,
            "trajectoriesPerPrompt": SAMPLES,
            "learningRate": 0.0003,
            "maxTokensPerTurn": 16,
            "maxTurns": 3,
            "filterConstantGroups": False,
        },
    },
    {
        "name": "eval",
        "type": "Evaluation",
        "evaluation": {
            "tasks": ["s3://sea/survivor/data/rl_test.jsonl"],
            "trials": 2,
            "maxTasks": 8,
            "maxTokensPerTurn": 16,
            "maxTurns": 3,
        },
    },
]


def ledger(e2e: Any, status: dict[str, Any], tmp_path: Path) -> sqlite3.Connection:
    """The ledger as the newest committed checkpoint of the RL stage keeps it."""
    objects = e2e.objects(status)
    head = json.loads(objects.read("stages/rl/checkpoints/head.json"))
    manifest = json.loads(objects.read_absolute(head["checkpoints"][-1]["manifest_key"]))
    file = tmp_path / "ledger.sqlite"
    file.write_bytes(objects.read_absolute(manifest["ledger"]["key"]))
    return sqlite3.connect(file)


def test_job_survives_the_death_of_each_part(
    e2e: Any,
    wait_for: Callable[..., Any],
    condition: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    manifest = e2e.manifest(
        "survivor",
        STAGES,
        checkpoint={"everySteps": 4, "keepLast": 2},
        userModel={"engine": "Scripted"},  # a user model trained so little ends every call at once
    )
    e2e.upload(manifest)
    read = e2e.submit(manifest)

    def step() -> int:
        """Of the RL stage: none before it, all of them after."""
        status = read().get("status", {})
        if status.get("stage") == "rl":
            return int(status.get("step") or 0)
        return STEPS if status.get("stage") == "eval" or complete() else 0

    def complete() -> bool:
        return condition(read(), "Complete").get("status") == "True"

    def goes_on(after: int, more: int, what: str) -> None:
        wait_for(f"steps after {what}", lambda: step() >= min(after + more, STEPS))

    def killed(program: str) -> int:
        victims = wait_for(f"a process of {program}", lambda: e2e.processes("survivor", program))
        victims[0].kill()
        return step()

    wait_for("the second RL step", lambda: step() >= 2)

    at = killed("sea_runtime.rollout.server")
    goes_on(at, 3, "the engine's death")

    at = killed("sea_runtime.trainer.process")
    wait_for("another attempt", lambda: read().get("status", {}).get("trainerAttempt", 0) >= 2)
    goes_on(at, 2, "the trainer's death")

    at = killed("sea_runtime.coordinator")
    goes_on(at, 2, "the coordinator's death")

    victims = wait_for("the operator", e2e.operators)
    assert len(victims) == 1
    victims[0].kill()
    wait_for("the job's end", lambda: condition(read(), "Complete")["status"] == "True")

    status = read()["status"]
    assert condition(read(), "Ready")["status"] == "True"
    assert status["lastFailure"]["log"].startswith(f"{status['runUrl']}/logs/survivor-trainer-")
    assert status["restarts"]["counted"] >= 1
    database = ledger(e2e, status, tmp_path)
    check_ledger(database)
    check_same_batches(database)
    rows = [row for row in e2e.objects(status).metrics() if row["stage"] == "rl"]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))  # none lost, none twice
    wait_for("all pods gone", lambda: not e2e.pods("survivor"))
    # Only now: the status is written before the pods go, and the last logs are read in between.
    check_logs(e2e.objects(status))
    assert not e2e.processes("survivor", "sea_runtime")


def check_ledger(database: sqlite3.Connection) -> None:
    """Every step has its groups, every group one step, every episode one verdict."""
    rows = database.execute("SELECT step, id FROM groups WHERE stage='rl' AND step IS NOT NULL")
    groups = rows.fetchall()
    assert Counter(step for step, _ in groups) == dict.fromkeys(range(1, STEPS + 1), GROUPS)
    assert len({group for _, group in groups}) == len(groups)
    episodes = database.execute(
        "SELECT count(*) FROM episodes JOIN groups ON group_number = number"
        " WHERE stage='rl' AND step IS NOT NULL AND reward IS NOT NULL"
    ).fetchone()[0]
    assert episodes == STEPS * GROUPS * SAMPLES


def check_logs(objects: Any) -> None:
    """The pods are gone; what those that failed said last, and how the others ended, is kept."""
    names = objects.names("logs/")
    for failed in (
        "survivor-rollout-0/engine.attempt-1.failed.log",
        "survivor-trainer-0/trainer.attempt-1.failed.log",
        "survivor-coordinator-0/coordinator.attempt-2.failed.log",
    ):
        assert f"logs/{failed}" in names, names
        assert objects.read(f"logs/{failed}")
    ended = [name for name in names if not name.endswith(".failed.log")]
    assert any(name.startswith("logs/survivor-coordinator-0/coordinator.") for name in ended), names


def check_same_batches(database: sqlite3.Connection) -> None:
    """A step that was trained twice was trained on the very same batch."""
    digests: dict[int, set[float]] = {}
    for step, metrics in database.execute("SELECT step, metrics FROM progress WHERE stage='rl'"):
        digests.setdefault(step, set()).add(json.loads(metrics)["batch_crc32"])
    assert all(len(found) == 1 for found in digests.values())
