"""Numbers that are none: a model that has become NaN is neither published nor saved. Pure."""

import math
from collections.abc import Mapping

from sea_runtime.trainer.errors import TrainerError


def require_finite(norm: float) -> float:
    """The gradients' norm; TrainerError where the update was made of NaN or infinity."""
    if not math.isfinite(norm):
        raise TrainerError(
            f"The gradients' norm is {norm}: this step would ruin the model, so training goes "
            "back to the last checkpoint. If it happens again, lower the stage's learningRate, "
            "use precision Fp32, or look for NaN in the model that the stage started from."
        )
    return norm


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that are numbers: JSON has no other, and one of them must not stop a stage."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
