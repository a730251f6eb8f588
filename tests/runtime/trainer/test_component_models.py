"""Random models of every family: what the trainer computes is what transformers computes."""

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.component
TOLERANCE = 1e-5
"""In FP32, of one token's log-probability."""
COUNT = 12


@pytest.fixture(scope="module")
def outcomes(run_probe: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One program for all models, since imports are slow."""
    return run_probe("model_probe.py", tmp_path_factory.mktemp("m"), COUNT)


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


def test_trained_and_exported_vllm_serves_what_was_trained(
    outcomes: list[dict[str, Any]], run_probe: Callable[..., Any]
) -> None:
    served = [one for one in outcomes if "folder" in one]
    assert [one["family"] for one in served] == ["Qwen2", "Qwen3Moe"]
    asked = json.dumps([[one["folder"], one["tokens"]] for one in served])
    for one, logprobs in zip(served, run_probe("engine_probe.py", given=asked), strict=True):
        distances = [abs(a - b) for a, b in zip(one["logprobs"], logprobs, strict=True)]
        assert max(distances) <= TOLERANCE, one


def test_the_models_differ_in_everything_that_is_supported(outcomes: list[dict[str, Any]]) -> None:
    assert {one["family"] for one in outcomes} == {"Qwen2", "Qwen3", "Qwen3Moe"}
    kinds = {one["rope_parameters"]["rope_type"] for one in outcomes}
    assert kinds == {"default", "linear", "llama3", "yarn"}
    assert {one["family"] for one in outcomes if one["fp8"]} == {"Qwen2", "Qwen3", "Qwen3Moe"}
    for field in ("tie_word_embeddings", "norm_topk_prob"):
        assert {one[field] for one in outcomes if field in one} == {True, False}
