"""megatron-core 0.16.1: the pipeline schedules count tokens in `torch.zeros(..., device="cuda")`.

Without a device that raises the driver's error, with one pipeline stage as well. The schedules get
a view of torch in which `cuda` means the CPU: the mode of `cuda_names.py` would slow down every
call of the forward and backward passes.
"""

from typing import Any

import torch
from megatron.core.pipeline_parallel import schedules


class _Torch:
    """`torch` whose `zeros` makes tensors of the device `cuda` on the CPU."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def zeros(*size: Any, device: Any = None, **options: Any) -> torch.Tensor:
        return torch.zeros(*size, device="cpu" if device == "cuda" else device, **options)


def apply() -> None:
    schedules.torch = _Torch()
