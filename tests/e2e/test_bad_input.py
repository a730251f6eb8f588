"""Mistakes in spec or data are told in a sentence and mended by editing the job alone."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from sea_devcluster.errors import DemoError

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400)]

SFT = {"batchSize": 4, "learningRate": 0.002, "maxSteps": 3}
STAGES = [
    {"name": "sft", "type": "SFT", "sft": SFT},
    {
        "name": "eval",
        "type": "Evaluation",
        "evaluation": {
            "tasks": ["s3://sea/crooked/data/rl_test.jsonl"],
            "trials": 1,
            "maxTasks": 4,
            "maxTokensPerTurn": 8,
            "maxTurns": 2,
        },
    },
]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"trainer": {"replicas": 3}}, "spec.trainer"),
        ({"domains": ["casino"]}, "spec.domains[0]"),
    ],
)
def test_what_the_schema_sees_is_refused_at_admission(
    e2e: Any, change: dict[str, Any], sentence: str
) -> None:
    manifest = e2e.manifest("refused", STAGES, userModel={"engine": "Scripted"})
    for key, value in change.items():
        old = manifest["spec"][key]
        manifest["spec"][key] = {**old, **value} if isinstance(value, dict) else value
    with pytest.raises(DemoError) as refused:
        e2e.submit(manifest)
    assert sentence in str(refused.value)


def _spoilt_rows(e2e: Any) -> dict[str, bytes]:
    """Files with one bad line each, by their names."""
    tasks = (e2e.data / "rl_test.jsonl").read_bytes().splitlines(keepends=True)
    climbing = json.loads(tasks[1]) | {"db_path": "../../secrets.json"}
    return {
        "torn.jsonl": tasks[0] + b'{"id": "torn", \n' + tasks[1],
        "climbing.jsonl": tasks[0] + json.dumps(climbing).encode() + b"\n",
    }


def test_mistakes_stall_the_job_until_it_is_edited(
    e2e: Any,
    wait_for: Callable[..., Any],
    condition: Callable[..., dict[str, Any]],
) -> None:
    right = e2e.manifest("crooked", STAGES, userModel={"engine": "Scripted"})
    e2e.upload(right)
    for name, body in _spoilt_rows(e2e).items():
        e2e.put("crooked", name, body)

    def tasks(file: str) -> dict[str, Any]:
        manifest = copy.deepcopy(right)
        evaluation = manifest["spec"]["stages"][1]["evaluation"]
        evaluation["tasks"] = [f"s3://sea/crooked/data/{file}"]
        return manifest

    no_secret = copy.deepcopy(right)
    no_secret["spec"]["storage"]["credentialsSecret"] = "forgotten"
    table = [
        (no_secret, "SecretNotFound", "forgotten"),
        (tasks("nowhere.jsonl"), "DataNotFound", "s3://sea/crooked/data/nowhere.jsonl"),
        (tasks("torn.jsonl"), "BadRow", "torn.jsonl line 2"),
        (tasks("climbing.jsonl"), "BadDatabasePath", "climbing.jsonl line 2"),
    ]
    e2e.prepare(right)
    read = e2e.reader(right)
    for manifest, reason, words in table:
        e2e.edit(manifest)
        stalled = wait_for(
            f"Stalled with {reason}",
            lambda reason=reason: _stalled(condition(read(), "Stalled"), reason),
        )
        assert words in stalled["message"]
        assert stalled["message"].endswith(".")
    pods = {pod["metadata"]["uid"] for pod in e2e.pods("crooked")}
    assert pods  # from the second mistake on they existed, and waited

    e2e.edit(right)
    wait_for("Stalled goes", lambda: condition(read(), "Stalled")["status"] == "False")
    assert {pod["metadata"]["uid"] for pod in e2e.pods("crooked")} == pods
    wait_for("the job's end", lambda: condition(read(), "Complete")["status"] == "True")
    status = read()["status"]
    assert status.get("restarts", {}).get("counted", 0) == 0
    assert status["trainerAttempt"] == 1
    e2e.delete(right)


def _stalled(found: dict[str, Any], reason: str) -> dict[str, Any] | None:
    return found if found["status"] == "True" and found["reason"] == reason else None
