"""megatron-core 0.16.1 saves the CUDA generator's state to recompute activations from it.

Without a device that raises the driver's error. No dropout is used: recomputation draws nothing.
"""

from typing import Any

import torch
from megatron.core.tensor_parallel import random


def _no_state(*_: Any, **__: Any) -> torch.Tensor:
    return torch.zeros(0)


def _ignore(*_: Any, **__: Any) -> None:
    """There is no generator to set."""


def apply() -> None:
    random._get_cuda_rng_state = _no_state
    random._set_cuda_rng_state = _ignore
