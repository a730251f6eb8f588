"""Sizes that a trainer's layout admits."""

from typing import Any

import pytest

from sea_api.v1alpha1.elastic import pod_step, trainer_sizes
from sea_api.v1alpha1.roles import Trainer


def trainer(gpus: int, replicas: int, between: tuple[int, int] | None, **layout: Any) -> Trainer:
    elastic = {"minReplicas": between[0], "maxReplicas": between[1]} if between else None
    return Trainer.model_validate(
        {"gpusPerPod": gpus, "replicas": replicas, "parallelism": layout, "elastic": elastic}
    )


@pytest.mark.parametrize(
    ("gpus", "layout", "step"),
    [
        (0, {}, 1),
        (8, {}, 1),
        (8, {"tensor": 4}, 1),
        (8, {"tensor": 8, "pipeline": 3}, 3),
        (8, {"tensor": 4, "pipeline": 12, "expert": 4}, 6),  # the reference: 48 ranks
        (8, {"tensor": 4, "pipeline": 6, "expert": 8}, 6),  # attention wants 24 ranks, experts 48
        (4, {"expert": 8}, 2),
        (0, {"tensor": 2, "context": 2}, 4),
    ],
)
def test_sizes_are_multiples_of_whole_replicas(gpus: int, layout: Any, step: int) -> None:
    assert pod_step(trainer(gpus, step, None, **layout)) == step
    found = trainer_sizes(trainer(gpus, step, (step, 4 * step), **layout))
    assert found == (step, 2 * step, 3 * step, 4 * step)


def test_a_trainer_without_a_range_has_one_size() -> None:
    assert trainer_sizes(trainer(0, 3, None)) == (3,)


@pytest.mark.parametrize("between", [(1, 4), (2, 3)])
def test_a_range_holds_only_sizes_that_the_layout_admits(between: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be sizes that the layout admits"):
        trainer(0, 2, between, tensor=2)
