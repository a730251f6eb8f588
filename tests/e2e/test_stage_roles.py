"""Roles come and go with the stages: engines that start after the trainer has gone serve what it
made."""

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400)]

STAGES = [
    {"name": "sft", "type": "SFT", "sft": {"batchSize": 4, "learningRate": 0.002, "maxSteps": 3}},
    {
        "name": "eval",
        "type": "Evaluation",
        "evaluation": {
            "tasks": ["s3://sea/cold/data/rl_test.jsonl"],
            "trials": 1,
            "maxTasks": 2,
            "maxTokensPerTurn": 24,
            "maxTurns": 4,
        },
    },
]


def test_engines_that_start_late_serve_the_weights_of_a_trainer_that_has_gone(
    e2e: Any, wait_for: Callable[..., Any], condition: Callable[..., Any]
) -> None:
    manifest = e2e.manifest("cold", STAGES)
    for role in ("trainer", "rollout", "userModel"):
        manifest["spec"][role]["warm"] = False
    e2e.upload(manifest)
    read = e2e.submit(manifest)

    def roles() -> dict[str, int]:
        counts = read().get("status", {}).get("roles", {})
        return {role: counts[role]["desired"] for role in counts}

    def runs(stage: str) -> bool:
        return bool(read().get("status", {}).get("stage") == stage)

    wait_for("training", lambda: runs("sft"))
    assert roles() == {"coordinator": 1, "trainer": 2, "rollout": 0, "user": 0}
    wait_for("the evaluation", lambda: runs("eval"))
    assert roles() == {"coordinator": 1, "trainer": 0, "rollout": 1, "user": 1}
    wait_for("the end", lambda: condition(read(), "Complete")["status"] == "True")
    status = read()["status"]
    # The base model is version 0; what SFT made is version 1, and only the store had it.
    lines = e2e.objects(status).read("evaluation/eval.episodes.jsonl").splitlines()
    assert {json.loads(line)["weightVersion"] for line in lines} == {1.0}
    assert status["restarts"]["counted"] == 0
    e2e.delete(manifest)
