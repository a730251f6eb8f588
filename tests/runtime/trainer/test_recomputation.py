"""`Auto` is the least recomputation that fits, by the planner's memory; none on a CPU."""

from dataclasses import replace

import pytest

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel import parallel_layout
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.planner import trainer_memory
from sea_runtime.planner.trainer_memory import TrainerSetup
from sea_runtime.trainer.recomputation import resolve

SHAPE = ModelShape(
    layers=24,
    hidden=2048,
    heads=16,
    kv_heads=4,
    head_dim=128,
    ffn=6144,
    experts=0,
    experts_per_token=0,
    expert_ffn=0,
    normalize_top_k=True,
    vocabulary=151936,
    tied=True,
    rope_theta=1e6,
    norm_eps=1e-6,
    context=32768,
)
LAYOUT = parallel_layout.plan(TrainerParallelism(), SHAPE, 1)
SETUP = TrainerSetup(SHAPE, LAYOUT, 2, 16384, 1, Recomputation.AUTO)


def needs(choice: Recomputation) -> int:
    """A GPU that holds this choice with the planner's margin."""
    held = trainer_memory.peak_bytes(replace(SETUP, recomputation=choice))
    return int(held / (1 - trainer_memory.MARGIN)) + 1


@pytest.mark.parametrize("choice", [Recomputation.NONE, Recomputation.SELECTIVE])
def test_auto_takes_the_least_that_fits(choice: Recomputation) -> None:
    assert resolve(SETUP, needs(choice)) is choice
    assert resolve(SETUP, needs(choice) - 10) is not choice


def test_auto_without_room_recomputes_whole_layers() -> None:
    assert resolve(SETUP, 1) is Recomputation.FULL


def test_on_a_cpu_auto_recomputes_nothing() -> None:
    assert resolve(SETUP, None) is Recomputation.NONE


@pytest.mark.parametrize("choice", [Recomputation.NONE, Recomputation.FULL])
def test_what_is_asked_for_is_taken(choice: Recomputation) -> None:
    assert resolve(replace(SETUP, recomputation=choice), 1) is choice
