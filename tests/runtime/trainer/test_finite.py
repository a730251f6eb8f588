"""NaN ends an attempt before it is published or saved; among metrics it is left out."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from sea_runtime.store.folders import download_folder, upload_folder
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.errors import DivergenceError
from sea_runtime.trainer.optimizer import require_finite_norm
from sea_runtime.trainer.step_metrics import finite_metrics
from sea_runtime.wire.trainer import StageProgress, TrainerTask
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.ranks import Ranks


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_is_an_error(norm: float) -> None:
    assert require_finite_norm(0.5) == 0.5
    with pytest.raises(DivergenceError, match="lower the stage's learningRate"):
        require_finite_norm(norm)


def test_metrics_that_are_not_finite_are_left_out() -> None:
    """A validation set without any answer has no loss."""
    metrics = finite_metrics({"loss": 1.0, "validation_loss": math.nan, "grad_norm": math.inf})
    row = StageProgress(attempt=1, step=1, total_steps=2, metrics=metrics)
    assert StageProgress.model_validate_json(row.model_dump_json()).metrics == {"loss": 1.0}


@pytest.mark.component
def test_a_model_that_is_nan_is_neither_published_nor_saved(
    store: ObjectStore,
    base: Path,
    coordinator: FakeCoordinator,
    ranks: Ranks,
    make_task: Callable[..., TrainerTask],
    tmp_path: Path,
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "nan"
    download_folder(store, "s3://runs/base", folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = torch.full_like(tensors["model.norm.weight"], math.nan)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    upload_folder(store, folder, "s3://runs/nan-base")
    stage = {"type": "SFT", "sft": {"batchSize": 4, "maxSteps": 3}}
    task = make_task("nan", stage, checkpoint={"everySteps": 1})
    coordinator.task = task.model_copy(update={"initial_model": "s3://runs/nan-base"})
    ranks.start(attempt=1)
    assert ranks.exit_codes() == [1, 1]
    assert "this step would ruin the model" in ranks.log()
    assert not coordinator.progress
    assert not coordinator.versions
    assert not coordinator.committed
