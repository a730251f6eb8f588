"""A fetched version's bytes in host memory as what the pause copies: regions, and joined writes.

All of it is worked out while the engine generates (`staging`). The blocks are in memory in the
order in which the parameters hold them (`transport/read_plan.py`), so the copies of a layer that
are adjacent on both sides become one: of the 384 matrices of 128 experts, two.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from sea_runtime.parallel.regions import Region, contiguous_strides
from sea_runtime.rollout.vllm_plugin.recorder import Copy
from sea_runtime.transport import manifest
from sea_runtime.transport.read_plan import ShardRead
from sea_runtime.transport.weight_sums import total, weighted_sum


@dataclass(frozen=True)
class Write:
    """Elements of a version for a part of a parameter, as many on both sides."""

    parameter: str
    """Name within its layer."""
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    """Of the destination within the parameter's storage, in elements."""
    source: torch.Tensor
    """In the destination's shape."""


class StagedTensors:
    """Regions of a fetched version's tensors."""

    def __init__(self, reads: Sequence[ShardRead], buffers: Mapping[int, torch.Tensor]) -> None:
        self._held: dict[str, list[tuple[Region, torch.Tensor]]] = {}
        self._sums: dict[tuple[str, Region], int] = {}
        for read in reads:
            for block, offset in zip(read.blocks, read.offsets, strict=True):
                held, region = self._held.setdefault(block.name, []), manifest.region_of(block)
                held.append((region, manifest.view(block, buffers[read.rank], offset)))
                self._sums[block.name, region] = block.weighted_sum

    def get(self, name: str, region: Region) -> torch.Tensor:
        """In the region's shape: a view where one block holds it, else a copy of its parts."""
        held = self._held[name]
        for have, tensor in held:
            if have.contains(region):
                return tensor[region.within(have)]
        out = torch.empty(region.shape, dtype=held[0][1].dtype)
        for have, tensor in held:
            if part := have.intersection(region):
                out[part.within(region)] = tensor[part.within(have)]
        return out

    def weighted_sum(self, name: str, region: Region, tensor: Sequence[int]) -> int:
        """Weighted sum of a region as published; for a part of a block, of its verified bytes.

        Args:
            tensor: shape of the whole tensor.
        """
        found = []
        for have, values in self._held[name]:
            if region.contains(have):
                found.append(self._sums[name, have])
            elif part := have.intersection(region):
                found.append(weighted_sum(values[part.within(have)], part, tensor))
        return total(found)


def writes(copies: Iterable[Copy], get: Callable[[str, Region], torch.Tensor]) -> list[Write]:
    """The recorded copies of one layer, joined where both sides are adjacent in memory.

    Args:
        get: returns a region of a tensor, in the region's shape.
    """
    found = (
        Write(
            copy.parameter,
            copy.offset,
            copy.shape,
            copy.stride,
            get(copy.tensor, copy.region).reshape(copy.shape),
        )
        for copy in sorted(copies, key=Copy.place)
    )
    return list(_joined(found))


def _joined(found: Iterable[Write]) -> Iterator[Write]:
    group: list[Write] = []
    for one in found:
        if group and not _follows(group[-1], one):
            yield _one(group)
            group = []
        group.append(one)
    if group:
        yield _one(group)


def _follows(last: Write, one: Write) -> bool:
    return (
        (one.parameter, one.offset) == (last.parameter, last.offset + last.source.numel())
        and _is_dense(last)
        and _is_dense(one)
        and one.source.dtype == last.source.dtype
        and one.source.data_ptr() == last.source.data_ptr() + last.source.nbytes
        # Memory of two allocations may be adjacent by chance.
        and one.source.untyped_storage().data_ptr() == last.source.untyped_storage().data_ptr()
    )


def _is_dense(one: Write) -> bool:
    return one.source.is_contiguous() and one.stride == contiguous_strides(one.shape)


def _one(group: Sequence[Write]) -> Write:
    first = group[0]
    if len(group) == 1:
        return first
    count = sum(one.source.numel() for one in group)
    source = first.source.as_strided((count,), (1,), first.source.storage_offset())
    return Write(first.parameter, first.offset, (count,), (1,), source)
