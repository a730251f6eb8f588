"""Layout of one shard of a weight version: blocks of tensors in one buffer, with checksums.

Trainer ranks `plan` once, `pack` every version into one of their host buffers and publish the
blocks; engines read those that they need (`nixl_link`, or S3), check for `corrupt` ones and take
`view`s of the rest.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
import xxhash

from sea_runtime.errors import RuntimeFailure
from sea_runtime.parallel.regions import Region
from sea_runtime.transport.weight_sums import weighted_sum
from sea_runtime.wire.weights import Block

ALIGNMENT = 64
"""Bytes: a cache line, and enough for every dtype and for RDMA."""
MAX_CHECKSUM_THREADS = 8
"""A core checks 25 GB/s; more threads than that only wait for memory."""
Cut = Callable[[str, Sequence[int]], Sequence[Region]]
"""(name, shape) -> the regions of that tensor, each stored as one block."""


class ManifestMismatchError(RuntimeFailure):
    """The tensors don't match the planned layout."""


def dtype_name(dtype: torch.dtype) -> str:
    """`torch.bfloat16` -> `bfloat16`."""
    return str(dtype).removeprefix("torch.")


def dtype_of(name: str) -> torch.dtype:
    """The inverse of `dtype_name`.

    Raises:
        ManifestMismatchError: this release of torch has no such dtype.
    """
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ManifestMismatchError(
            f"The manifest names the dtype {name!r}, which this torch doesn't have: run the same "
            "release of sea-operator in trainer and engines."
        )
    return dtype


def _whole(_name: str, shape: Sequence[int]) -> Sequence[Region]:
    return [Region.whole(shape)]


def plan(tensors: Mapping[str, torch.Tensor], cut: Cut = _whole) -> list[Block]:
    """Blocks that place the tensors end to end, each at a multiple of 64 bytes; no checksums."""
    blocks: list[Block] = []
    offset = 0
    for name, tensor in tensors.items():
        for region in cut(name, tensor.shape):
            block = Block(
                name=name,
                tensor=list(tensor.shape),
                start=list(region.start),
                shape=list(region.shape),
                dtype=dtype_name(tensor.dtype),
                offset=offset,
                nbytes=region.elements * tensor.element_size(),
            )
            blocks.append(block)
            offset += -(-block.nbytes // ALIGNMENT) * ALIGNMENT
    return blocks


def region_of(block: Block) -> Region:
    return Region(tuple(block.start), tuple(block.shape))


def total_bytes(blocks: Sequence[Block]) -> int:
    """Bytes of the buffer that the blocks need."""
    return max((block.offset + block.nbytes for block in blocks), default=0)


def allocate(nbytes: int) -> torch.Tensor:
    """A zeroed host buffer, uint8 [nbytes], aligned to 64 bytes."""
    # torch promises no alignment for host memory, so allocate more and start at a multiple of 64.
    # The slice keeps the whole storage alive.
    raw = torch.zeros(nbytes + ALIGNMENT, dtype=torch.uint8)
    start = -raw.data_ptr() % ALIGNMENT
    return raw[start : start + nbytes]


def view(block: Block, buffer: torch.Tensor, offset: int | None = None) -> torch.Tensor:
    """The block's region as a view on `buffer` (no copy); `offset`: where it is, if elsewhere."""
    start = block.offset if offset is None else offset
    flat = buffer[start : start + block.nbytes]
    # Reinterprets bytes: needs an offset that is a multiple of the dtype's size, which ALIGNMENT
    # gives.
    return flat.view(dtype_of(block.dtype)).view(block.shape)


def checksum(data: torch.Tensor) -> int:
    """xxh3 of the bytes (uint8, contiguous); releases the GIL while it runs."""
    return xxhash.xxh3_64_intdigest(data.numpy().data)


@cache
def _threads() -> ThreadPoolExecutor:
    count = min(MAX_CHECKSUM_THREADS, len(os.sched_getaffinity(0)))
    return ThreadPoolExecutor(count, thread_name_prefix="sea-checksum")


def _checksums(parts: Iterable[torch.Tensor]) -> list[int]:
    # One pass over all bytes at memory speed: on one thread a version of 470 GB took a minute.
    return list(_threads().map(checksum, parts))


def pack(
    blocks: Sequence[Block],
    tensors: Iterable[tuple[str, torch.Tensor]],
    buffer: torch.Tensor,
) -> list[Block]:
    """Copies the tensors, as they come, into `buffer`; returns the blocks with both their sums.

    Raises:
        ManifestMismatchError: a tensor is missing or was not planned, or its shape or dtype
            differs from the plan.
    """
    planned: dict[str, list[Block]] = {}
    for block in blocks:
        planned.setdefault(block.name, []).append(block)
    weighted: dict[int, int] = {}
    for name, tensor in tensors:
        parts = planned.pop(name, None)
        if parts is None:
            raise ManifestMismatchError(f"The tensor {name} was not planned, or came twice.")
        block = parts[0]
        if list(tensor.shape) != block.tensor or dtype_name(tensor.dtype) != block.dtype:
            raise ManifestMismatchError(
                f"The tensor {block.name} is {dtype_name(tensor.dtype)}{list(tensor.shape)}, "
                f"but {block.dtype}{block.tensor} was planned: plan again after changing the model."
            )
        # A device tensor is copied to the host here; `copy_` waits for the device.
        for part in parts:
            source = tensor.detach()[region_of(part).within(Region.whole(part.tensor))]
            # Of the source, not of the copy: this sum also vouches for the packing.
            weighted[part.offset] = weighted_sum(source, region_of(part), part.tensor)
            view(part, buffer).copy_(source)
    for name in planned:
        raise ManifestMismatchError(f"The tensor {name} was planned but is missing.")
    # Of the copy, not of the source: the checksum vouches for the bytes that engines read.
    sums = _checksums(buffer[block.offset : block.offset + block.nbytes] for block in blocks)
    return [
        block.model_copy(update={"checksum": found, "weighted_sum": weighted[block.offset]})
        for block, found in zip(blocks, sums, strict=True)
    ]


def corrupt(blocks: Sequence[Block], parts: Iterable[torch.Tensor]) -> list[str]:
    """Names of the tensors whose bytes, one part a block, don't match their checksum."""
    found = _checksums(parts)
    return [block.name for block, sum_ in zip(blocks, found, strict=True) if sum_ != block.checksum]
