"""megatron-core 0.16.1: the alltoall dispatcher of experts copies its splits over a CUDA stream.

Without a device its constructor fails. On a CPU the splits are on the host already: they become
numpy arrays where the original waits for the copy.
"""

from typing import Any

import torch
from megatron.core.transformer.moe.token_dispatcher import MoEAlltoAllTokenDispatcher


def _settle(self: Any, point: str, tokens_per_expert: Any = None) -> Any:
    if point == self.cuda_dtoh_point:
        for name in ("input_splits", "output_splits", "output_splits_tp"):
            if torch.is_tensor(value := getattr(self, name)):
                setattr(self, name, value.numpy())
    return tokens_per_expert


def apply() -> None:
    # Anything but None: the constructor makes a stream otherwise.
    MoEAlltoAllTokenDispatcher.cuda_dtoh_stream = "none"
    MoEAlltoAllTokenDispatcher._maybe_dtoh_and_synchronize = _settle
