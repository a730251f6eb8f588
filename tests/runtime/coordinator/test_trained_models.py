"""Engines learn when their model is trained: those that serve FP8 weights restart then."""

from pathlib import Path
from typing import Any

import pytest

from sea_api.v1alpha1.job import Spec
from sea_testing.coordinator import inprocess as kit

STAGES: list[dict[str, Any]] = [
    {"name": "look", "type": "Evaluation", "evaluation": {}},
    {"name": "user", "type": "UserSFT", "userSFT": {}},
    {"name": "rl", "type": "RL", "rl": {"steps": 2}},
    {"name": "again", "type": "Evaluation", "evaluation": {}},
]
SPEC = Spec.model_validate(
    {
        "model": {"name": "m", "source": "builtin:tiny"},
        "storage": {"url": "s3://bucket/x"},
        "data": {"rl": [kit.FILE], "sft": ["s3://bucket/sft.jsonl"]},
        "domains": ["shop"],
        "userModel": {"engine": "VLLM", "gpusPerPod": 0},
        "stages": STAGES,
    }
)
TABLE = [
    ("an evaluation runs", 0, True, [], {"policy": False, "user": False}),
    ("a stage of the other stream runs", 1, True, [], {"policy": False, "user": True}),
    ("its stage waits for the base model", 2, False, [], {"policy": False, "user": False}),
    ("its stage runs", 2, True, [], {"policy": True, "user": False}),
    ("it was trained before", 3, True, [1], {"policy": True, "user": False}),
]


@pytest.mark.parametrize(
    ("_", "stage", "runs", "published", "trained"), TABLE, ids=[row[0] for row in TABLE]
)
def test_a_model_counts_as_trained_from_the_start_of_its_first_training_stage(
    tmp_path: Path,
    _: str,
    stage: int,
    runs: bool,
    published: list[int],
    trained: dict[str, bool],
) -> None:
    core = kit.coordinator(tmp_path, kit.desired(SPEC, stage=stage if runs else 0), kit.Clock())
    core.job.adopt(kit.desired(SPEC, stage=stage))
    for number in published:
        core.weights.publish(kit.version(number))
    for stream, expected in trained.items():
        assert core.weights.nothing_newer(stream).trained is expected
        reply = core.weights.query(stream, 0)
        assert reply is None or reply.trained is expected
