"""Guards against NaN and infinity: a model that has diverged is neither published nor saved."""

import math
from collections.abc import Mapping

from sea_runtime.trainer.errors import DivergenceError


def require_finite_norm(norm: float) -> float:
    """Returns the norm of the gradients.

    Raises:
        DivergenceError: the norm is NaN or infinite, so the update has ruined the parameters.
    """
    if not math.isfinite(norm):
        raise DivergenceError(
            f"The norm of the gradients is {norm}: this step would ruin the model, so training "
            "goes back to the last checkpoint. If it happens again, lower the stage's "
            "learningRate, use precision FP32, or look for NaN in the stage's initial model."
        )
    return norm


def finite_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Drops metrics without a finite value: JSON has no NaN, and one must not stop a stage."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
