"""megatron-core 0.16.1 names the device `cuda` in literals and compares `torch.cuda.*Tensor` types.

The optimizer's construction and step, and the end of a checkpoint's load run inside `cuda_names()`:
`device="cuda"` means the CPU, and `Tensor.type()` returns the CUDA name. Forward and backward
passes run outside, since the context adds microseconds to every call of torch. Without it: "Wrapped
parameters must be one of ..." and driver errors.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class CudaNames(TorchFunctionMode):
    """Makes torch treat the CPU as the CUDA device."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        # Only the form that asks for the name; `tensor.type(dtype)` converts.
        if func is torch.Tensor.type and len(args) == 1 and not options:
            return func(args[0]).replace("torch.", "torch.cuda.", 1)
        device = options.get("device")
        if device is not None and str(device).startswith("cuda"):
            options["device"] = "cpu"
        return func(*args, **options)


def cuda_names() -> CudaNames:
    """A context in which `cuda` names the CPU."""
    return CudaNames()
