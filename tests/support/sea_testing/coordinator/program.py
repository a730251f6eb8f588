"""The five stages that a job of the tests has unless it says otherwise."""

from typing import Any


def full_program(root: str, rl: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """UserSFT, SFT, Evaluation, RL, Evaluation on the data below `root`; `rl` changes the RL."""
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
        {"name": "user-sft", "type": "UserSFT", "userSFT": {"batchSize": 4}},
        {"name": "sft", "type": "SFT", "sft": {"batchSize": 4}},
        {"name": "eval-sft", "type": "Evaluation", "evaluation": evaluation},
        {"name": "rl", "type": "RL", "rl": block},
        {"name": "eval-rl", "type": "Evaluation", "evaluation": evaluation},
    ]


def only_rl(root: str, **rl: Any) -> list[dict[str, Any]]:
    """Its RL stage alone."""
    return [full_program(root, rl)[3]]


def only_sft(root: str) -> list[dict[str, Any]]:
    """Its SFT stage of the agent alone."""
    return [full_program(root, {})[1]]
