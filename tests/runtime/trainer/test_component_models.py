"""Random models of every family: what the trainer computes is what transformers computes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sea_testing
from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component
TOLERANCE = 1e-5
"""In FP32, of one token's log-probability."""
COUNT = 12


def run(program: str, *arguments: str, given: str = "") -> Any:
    """What a program next to this file prints last."""
    no_device = {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    support = str(Path(*sea_testing.__path__).parent)
    paths = os.pathsep.join([support, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name(program)), *arguments],
        env=os.environ | no_device | {"PYTHONPATH": paths},
        input=given,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """One program for all models, since imports are slow."""
    found: list[dict[str, Any]] = run(
        "model_probe.py", str(tmp_path_factory.mktemp("m")), str(COUNT)
    )
    return found


def test_loaded_they_give_the_log_probabilities_of_transformers(
    outcomes: list[dict[str, Any]],
) -> None:
    assert len(outcomes) == COUNT
    assert [one for one in outcomes if one["loaded"] > TOLERANCE] == []


def test_trained_and_exported_transformers_loads_what_was_trained(
    outcomes: list[dict[str, Any]],
) -> None:
    assert [one for one in outcomes if one["exported"] > TOLERANCE] == []
    assert [one for one in outcomes if one["trained"] < 100 * TOLERANCE] == []


def test_trained_and_exported_vllm_serves_what_was_trained(outcomes: list[dict[str, Any]]) -> None:
    served = [one for one in outcomes if "folder" in one]
    assert [one["family"] for one in served] == ["Qwen2", "Qwen3Moe"]
    asked = json.dumps([[one["folder"], one["tokens"]] for one in served])
    for one, logprobs in zip(served, run("engine_probe.py", given=asked), strict=True):
        distances = [abs(a - b) for a, b in zip(one["logprobs"], logprobs, strict=True)]
        assert max(distances) <= TOLERANCE, one


def test_the_models_differ_in_everything_that_is_supported(outcomes: list[dict[str, Any]]) -> None:
    assert {one["family"] for one in outcomes} == {"Qwen2", "Qwen3", "Qwen3Moe"}
    kinds = {one["rope_parameters"]["rope_type"] for one in outcomes}
    assert kinds == {"default", "linear", "llama3", "yarn"}
    assert {one["family"] for one in outcomes if one["fp8"]} == {"Qwen2", "Qwen3", "Qwen3Moe"}
    for field in ("tie_word_embeddings", "norm_topk_prob"):
        assert {one[field] for one in outcomes if field in one} == {True, False}
