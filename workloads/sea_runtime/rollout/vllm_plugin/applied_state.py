"""Whether a vLLM worker holds the version that it applied: sums of its parameters, in the pause.

Checksums of bytes that arrived say nothing about what became of them: a wrong offset in a recorded
copy, a kernel that writes elsewhere, memory that flips. So after an update the live parameters are
summed (`transport/weight_sums.py`) and compared with what the trainer summed before it packed its
tensors. Used by `transfer_engine`; every `weights.checkEvery` versions and at a worker's first
update.

Kernels may hold parameters in a form of their own. vLLM 0.32 on a CPU replaces linear weights by
packed copies, and fused experts may be reordered: those are summed when they are loaded, just
before vLLM changes their form.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from vllm.model_executor.layers.fused_moe import FusedMoEMethodBase

from sea_runtime.parallel.regions import Region
from sea_runtime.rollout.vllm_plugin.recorder import Copy, Recording, TensorTypes
from sea_runtime.transport.weight_sums import weighted_sum


class Published(Protocol):
    """A version's bytes on this host, and the trainer's sums."""

    def get(self, name: str, region: Region) -> Tensor:
        """The region's elements, as they were published."""
        ...

    def weighted_sum(self, name: str, region: Region, tensor: Sequence[int]) -> int:
        """The published sum of the region; `tensor`: shape of the whole tensor."""
        ...


@dataclass(frozen=True)
class _Form:
    """How a parameter is stored while loaders write to it."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, parameter: Tensor) -> "_Form":
        return cls(parameter.shape, parameter.stride(), parameter.dtype)


class AppliedState:
    """What one worker's parameters were when they were loaded, and what they are now.

    Args:
        tensors: dtypes and shapes of the version's tensors.
        check: without it nothing is summed and nothing found wrong.
    """

    def __init__(self, tensors: TensorTypes, *, check: bool) -> None:
        self._tensors, self._check = tensors, check
        self._forms: dict[tuple[nn.Module, str], _Form] = {}
        self._loaded: dict[tuple[nn.Module, Copy], int] = {}

    def loaded(self, layer: nn.Module, copies: Sequence[Copy]) -> None:
        """Call once a layer's copies are written, before its parameters change their form."""
        if not self._check:
            return
        for copy in copies:
            parameter = _parameter(layer, copy)
            self._forms[layer, copy.parameter] = _Form.of(parameter)
            self._loaded[layer, copy] = self._sum(parameter, copy)

    def wrong(self, recording: Recording, published: Published) -> list[str]:
        """Names of the tensors whose elements this worker doesn't hold as they were published.

        Call when the update is complete.
        """
        if not self._check:
            return []
        found: dict[str, None] = {}
        for layer, copies in recording.layers:
            for copy in copies:
                wanted = self._wanted(published, copy, self._forms[layer, copy.parameter].dtype)
                if any(held != wanted for held in self._held(layer, copy)):
                    found[copy.tensor] = None
        return list(found)

    def _wanted(self, published: Published, copy: Copy, held_as: torch.dtype) -> int:
        dtype, shape = self._tensors[copy.tensor]
        if held_as == dtype:
            return published.weighted_sum(copy.tensor, copy.region, shape)
        # An engine of another precision: what the loader's rounding makes of the verified bytes.
        rounded = published.get(copy.tensor, copy.region).to(held_as)
        return weighted_sum(rounded, copy.region, shape)

    def _held(self, layer: nn.Module, copy: Copy) -> list[int]:
        """The sum when it was loaded and, where it has the same form still, that of now."""
        sums, live = [self._loaded[layer, copy]], _parameter(layer, copy)
        if _Form.of(live) == self._forms[layer, copy.parameter] and not _is_reordered(layer):
            sums.append(self._sum(live, copy))
        return sums

    def _sum(self, parameter: Tensor, copy: Copy) -> int:
        part = parameter.as_strided(copy.shape, copy.stride, copy.offset)
        shape = self._tensors[copy.tensor][1]
        return weighted_sum(part.reshape(copy.region.shape), copy.region, shape)


def _parameter(layer: Any, copy: Copy) -> Tensor:
    parameter: Tensor = getattr(layer, copy.parameter).data
    return parameter


def _is_reordered(layer: Any) -> bool:
    # Fused experts keep shape and dtype when a kernel wants gate and up projections interleaved.
    return isinstance(getattr(layer, "quant_method", None), FusedMoEMethodBase)
