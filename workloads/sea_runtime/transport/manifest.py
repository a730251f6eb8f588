"""Layout of one shard of a weight version: tensors in one contiguous buffer with checksums.

Trainer ranks `plan` once, `pack` every version into one of their host buffers and publish the
entries; engines fetch the bytes (`nixl_link`, or S3), check for `corrupt` tensors, `unpack` views.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence

import torch

from sea_runtime.errors import RuntimeFailure
from sea_runtime.wire.weights import TensorEntry

ALIGNMENT = 64
"""Bytes: a cache line, and enough for every dtype and for RDMA."""


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


def plan(tensors: Mapping[str, torch.Tensor]) -> list[TensorEntry]:
    """Entries that place the tensors end to end, each at a multiple of 64 bytes; crc32 is 0."""
    entries: list[TensorEntry] = []
    offset = 0
    for name, tensor in tensors.items():
        nbytes = tensor.numel() * tensor.element_size()
        entries.append(
            TensorEntry(
                name=name,
                shape=list(tensor.shape),
                dtype=dtype_name(tensor.dtype),
                offset=offset,
                nbytes=nbytes,
                crc32=0,
            )
        )
        offset += -(-nbytes // ALIGNMENT) * ALIGNMENT
    return entries


def total_bytes(entries: Sequence[TensorEntry]) -> int:
    """Bytes of the buffer that the entries need."""
    return max((entry.offset + entry.nbytes for entry in entries), default=0)


def allocate(entries: Sequence[TensorEntry]) -> torch.Tensor:
    """A zeroed host buffer for the entries, uint8 [total_bytes], aligned to 64 bytes."""
    nbytes = total_bytes(entries)
    # torch promises no alignment for host memory, so allocate more and start at a multiple of 64.
    # The slice keeps the whole storage alive.
    raw = torch.zeros(nbytes + ALIGNMENT, dtype=torch.uint8)
    start = -raw.data_ptr() % ALIGNMENT
    return raw[start : start + nbytes]


def view(entry: TensorEntry, buffer: torch.Tensor) -> torch.Tensor:
    """The entry's tensor as a view on `buffer` (no copy)."""
    flat = buffer[entry.offset : entry.offset + entry.nbytes]
    # Reinterprets bytes: needs an offset that is a multiple of the dtype's size, which ALIGNMENT
    # gives.
    return flat.view(dtype_of(entry.dtype)).view(entry.shape)


def checksum(entry: TensorEntry, buffer: torch.Tensor) -> int:
    """crc32 of the entry's bytes; releases the GIL while it runs."""
    flat = buffer[entry.offset : entry.offset + entry.nbytes]
    # numpy has no bfloat16, so the bytes are taken before any view of a dtype.
    return zlib.crc32(flat.numpy().data)


def pack(
    entries: Sequence[TensorEntry],
    tensors: Iterable[tuple[str, torch.Tensor]],
    buffer: torch.Tensor,
) -> list[TensorEntry]:
    """Copies the tensors, as they come, into `buffer`; returns the entries with their checksums.

    Raises:
        ManifestMismatchError: a tensor is missing or was not planned, or its shape or dtype
            differs from the plan.
    """
    planned = {entry.name: entry for entry in entries}
    for name, tensor in tensors:
        entry = planned.pop(name, None)
        if entry is None:
            raise ManifestMismatchError(f"The tensor {name} was not planned, or came twice.")
        if list(tensor.shape) != entry.shape or dtype_name(tensor.dtype) != entry.dtype:
            raise ManifestMismatchError(
                f"The tensor {entry.name} is {dtype_name(tensor.dtype)}{list(tensor.shape)}, "
                f"but {entry.dtype}{entry.shape} was planned: plan again after changing the model."
            )
        # A device tensor is copied to the host here; `copy_` waits for the device.
        view(entry, buffer).copy_(tensor.detach())
    for name in planned:
        raise ManifestMismatchError(f"The tensor {name} was planned but is missing.")
    # Of the copy, not of the source: the checksum vouches for the bytes that engines read.
    return [e.model_copy(update={"crc32": checksum(e, buffer)}) for e in entries]


def unpack(entries: Sequence[TensorEntry], buffer: torch.Tensor) -> dict[str, torch.Tensor]:
    """The tensors by name, as views on `buffer`."""
    return {entry.name: view(entry, buffer) for entry in entries}


def corrupt(entries: Iterable[TensorEntry], buffer: torch.Tensor) -> list[str]:
    """Names of the tensors whose bytes don't match their checksum."""
    return [entry.name for entry in entries if checksum(entry, buffer) != entry.crc32]
