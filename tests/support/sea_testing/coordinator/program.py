"""The five stages that a job of the tests has unless it says otherwise."""

from typing import Any


def full_program(root: str, rl: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """UserSft, Sft, Evaluation, Rl, Evaluation on the data below `root`; `rl` changes the Rl."""
    block = {
        "steps": 5,
        "promptsPerStep": 3,
        "trajectoriesPerPrompt": 4,
        "maxConcurrentGroups": 6,
        "maxStaleness": 1,
        **(rl or {}),
    }
    evaluation = {"tasks": [f"{root}/eval.jsonl"], "trials": 4}
    return [
        {"name": "user-sft", "type": "UserSft", "userSft": {"batchSize": 4}},
        {"name": "sft", "type": "Sft", "sft": {"batchSize": 4}},
        {"name": "eval-sft", "type": "Evaluation", "evaluation": evaluation},
        {"name": "rl", "type": "Rl", "rl": block},
        {"name": "eval-rl", "type": "Evaluation", "evaluation": evaluation},
    ]


def only_rl(root: str, **rl: Any) -> list[dict[str, Any]]:
    """Its Rl stage alone."""
    return [full_program(root, rl)[3]]
