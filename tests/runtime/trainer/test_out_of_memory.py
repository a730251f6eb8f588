"""A lack of memory names the rank, its pipeline stage, the item, and what would help."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Cause
from sea_api.v1alpha1.roles import TrainerParallelism
from sea_api.v1alpha1.trainer_memory import OptimizerMemory, Recomputation
from sea_runtime.parallel import parallel_layout
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout
from sea_runtime.planner import trainer_memory
from sea_runtime.planner.trainer_memory import TrainerSetup
from sea_runtime.trainer.errors import RankOutOfMemoryError, cause_of
from sea_runtime.trainer.out_of_memory import PASSES, UPDATE, RankMemory

OFFLOADED = {"optimizer": {"offload": True}}


def memory(pipeline: int, precision: str = "BF16", **trainer: Any) -> RankMemory:
    """Of rank 5 of 8."""
    spec = Spec.model_validate(
        {
            "model": {"name": "m", "source": "hf://owner/model", "precision": precision},
            "storage": {"url": "s3://runs"},
            "data": {"sft": ["s3://runs/sft.jsonl"]},
            "domains": ["shop"],
            "stages": [{"name": "sft", "type": "SFT", "sft": {}}],
            "trainer": {"replicas": 1, "gpusPerPod": 8, **trainer},
        }
    )
    layout = ParallelLayout(8, 1, pipeline, 1, 1, 1, (1,) * pipeline)
    chosen = spec.trainer.recomputation
    on_gpus = spec.trainer.gpus_per_pod > 0
    if chosen is Recomputation.AUTO:
        chosen = Recomputation.FULL if on_gpus else Recomputation.NONE
    return RankMemory(layout.place(5), spec, 32768, chosen)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_rank_stage_and_item_are_named(error: Exception) -> None:
    with (
        pytest.raises(RankOutOfMemoryError, match=r"^Rank 5 of 8 \(pipeline stage 2 of 4\)") as got,
        memory(4).naming(PASSES),
    ):
        raise error
    assert "ran out of memory in the passes through the model" in str(got.value)
    assert "set trainer.optimizer.offload to true" in str(got.value)
    assert cause_of(got.value, stalled=True) is Cause.OUT_OF_MEMORY


def test_without_a_pipeline_there_is_no_stage_to_name() -> None:
    with (
        pytest.raises(RankOutOfMemoryError, match=r"^Rank 5 of 8 ran out of memory in the opt"),
        memory(1).naming(UPDATE),
    ):
        raise MemoryError


def test_another_error_passes() -> None:
    with pytest.raises(RuntimeError, match="out of memory"), memory(1).naming(UPDATE):
        raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    ("trainer", "precision", "wanted", "unwanted"),
    [
        # Auto chose Full already.
        ({}, "BF16", ["optimizer.offload", "below 32768"], ["recomputation", "template"]),
        ({"recomputation": "None"}, "BF16", ["recomputation to Full"], ["template"]),
        ({"recomputation": "Full", **OFFLOADED}, "BF16", ["below 32768"], ["offload"]),
        ({}, "FP32", ["trainer.parallelism"], ["offload"]),
        ({"gpusPerPod": 0, "replicas": 8}, "BF16", ["recomputation", "template"], ["offload"]),
    ],
)
def test_the_advice_is_what_is_left_to_do(
    trainer: dict[str, Any], precision: str, wanted: list[str], unwanted: list[str]
) -> None:
    advice = memory(1, precision, **trainer).advice()
    assert all(words in advice for words in wanted), advice
    assert not any(words in advice for words in unwanted), advice


MODEL = ModelShape(8, 2048, 16, 4, 128, 0, 32, 4, 768, True, 151936, False, 1e6, 1e-6, 32768)
ALONE, STAGES = (
    parallel_layout.plan(TrainerParallelism(pipeline=stages), MODEL, stages) for stages in (1, 2)
)
SETUP = TrainerSetup(MODEL, ALONE, 2, 32768, 4)
FOLLOWED = {
    "set trainer.recomputation to Full": replace(SETUP, recomputation=Recomputation.FULL),
    "set trainer.maxTokensPerMicrobatch below 32768": replace(SETUP, row_tokens=16384),
    "set trainer.optimizer.offload to true": replace(
        SETUP, optimizer=OptimizerMemory(offload=True)
    ),
    "divide the model over more processes in trainer.parallelism": replace(SETUP, layout=STAGES),
}


def test_each_advice_is_a_change_that_the_planner_says_saves_memory() -> None:
    given = memory(1, recomputation="None").advice()
    listed = given[0].lower() + given[1:-1]
    assert listed.split(", or ") == list(FOLLOWED)
    before = trainer_memory.peak_bytes(SETUP)
    for advice, setup in FOLLOWED.items():
        assert trainer_memory.peak_bytes(setup) < before, advice
