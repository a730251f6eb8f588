"""Optimizer states in host memory while the model computes (`trainer.optimizer.offload`).

Megatron's own (`MegatronOptimizer.offload_to_cpu`) allocates pageable memory each time; here one
pinned buffer per tensor is kept, which copies at the speed of the link to the host.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


class HostStates:
    """Main parameters and moments of a (chained) Megatron optimizer, on the host or the device."""

    def __init__(self, optimizer: Any, device: torch.device) -> None:
        self._parts = [part.optimizer for part in optimizer.chained_optimizers]
        self._device = device
        self._buffers: dict[int, Tensor] = {}
        self._away = False

    def _tensors(self) -> Iterator[Tensor]:
        """In a fixed order. Adam creates its moments in its first step or when it is loaded."""
        for part in self._parts:
            for group in part.param_groups:
                for parameter in group["params"]:
                    yield parameter
                    for name in ("exp_avg", "exp_avg_sq"):
                        if name in part.state.get(parameter, {}):
                            yield part.state[parameter][name]

    def to_host(self) -> None:
        """Before the model computes; nothing if they are there."""
        if self._away:
            return
        found = list(self._tensors())
        for tensor in found:
            # By identity: `.data` below changes a tensor's storage, never the tensor object.
            buffer = self._buffers.get(id(tensor))
            if buffer is None:
                pinned = self._device.type == "cuda"
                buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
                self._buffers[id(tensor)] = buffer
            buffer.copy_(tensor.data, non_blocking=True)
        self._wait()
        # Only after all copies: the device's memory is free from here on.
        for tensor in found:
            tensor.data = self._buffers[id(tensor)]
        self._away = True

    def to_device(self) -> None:
        """Before they are read or changed; nothing if they are there."""
        if not self._away:
            return
        for tensor in self._tensors():
            tensor.data = torch.empty_like(tensor.data, device=self._device).copy_(
                tensor.data, non_blocking=True
            )
        self._wait()
        self._away = False

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
