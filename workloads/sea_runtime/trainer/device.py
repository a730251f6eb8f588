"""Which device the training processes use."""

import contextlib
import importlib
from typing import Any

import torch


def has_cuda() -> bool:
    """True if a CUDA device answers; a CUDA build of torch without a driver counts as CPU."""
    return torch.cuda.is_available()


def has_te() -> bool:
    """True if megatron-core has found TransformerEngine."""
    # Not at the top: megatron-core takes seconds to import.
    from megatron.core.models.gpt import gpt_layer_specs

    return bool(gpt_layer_specs.HAVE_TE)


def gpu_memory() -> int | None:
    """Bytes of this process's GPU; None on a CPU."""
    if not has_cuda():
        return None
    return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)


def training_device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if has_cuda() else torch.device("cpu")


def device_names() -> contextlib.AbstractContextManager[Any]:
    """Wraps the library's calls that name the device `cuda` (see `cuda_names.py`)."""
    if has_cuda():
        return contextlib.nullcontext()
    return importlib.import_module(
        "sea_runtime.trainer.megatron_workarounds.cuda_names"
    ).cuda_names()
