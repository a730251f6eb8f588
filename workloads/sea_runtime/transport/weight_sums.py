"""A sum of a tensor's bits that adds up over any cut of the tensor: proves what was applied. Pure.

xxh3 (`manifest`) vouches for bytes on their way; this sum says whether the parameters that an
engine computes with are the tensors that the trainer had, whatever blocks, copies and loaders were
in between. Trainer ranks publish the sum of each block, a worker sums its live parameters
(`rollout/vllm_plugin/applied_state.py`).

The tensor's bytes, row-major, are read as 64-bit little-endian words. Word i counts 2 i + 1 times,
modulo 2^64: an odd weight, so that every change of a single element changes the sum, and a
different one for each word, so that swapped or shifted parts change it too. An element contributes
its bits at their place in the word; hence sums of disjoint regions add up to that of their union.
"""

import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from sea_runtime.parallel.regions import Region, contiguous_strides

WORD = 8
"""Bytes."""
MODULUS = 1 << 64
_CPU_CHUNK = 1 << 16
"""Words that are summed at a time on a CPU: 512 KiB stay in its cache for the second pass."""
MAX_CACHED = 256
"""Kinds of regions that are remembered; the rows of a vocabulary take 1 MB."""
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def weighted_sum(values: Tensor, region: Region, tensor: Sequence[int]) -> int:
    """The contribution of a region, 0 to 2^64 - 1.

    Args:
        values: the region's elements in the region's shape, on any device, any real dtype.
        region: where they are in the tensor.
        tensor: shape of the whole tensor.
    """
    assert sys.byteorder == "little"
    if not region.elements:
        return 0
    size = values.element_size()
    width = region.shape[-1] if region.shape else 1
    rows = values.detach().reshape(-1, width)
    shape = tuple(tensor)
    if _is_of_words(region, shape, size):
        return _sum_of_rows(_as_words(rows), _first_words(region, shape, size, values.device))
    return _sum_of_elements(rows, _row_starts(region, shape))


def total(sums: Iterable[int]) -> int:
    """The sum of the union of disjoint regions."""
    return sum(sums) % MODULUS


def _is_whole(nbytes: int) -> bool:
    return nbytes % WORD == 0


# Cached: all experts of all layers are the same regions of tensors of the same shapes, and for one
# of 8 KiB the small operations that place it took three times as long as the sum.
@lru_cache(MAX_CACHED)
def _is_of_words(region: Region, tensor: tuple[int, ...], size: int) -> bool:
    """True if no row begins or ends within a word; ragged rows go element by element."""
    width = region.shape[-1] if region.shape else 1
    return _is_whole(width * size) and all(_is_whole(at * size) for at in _steps(region, tensor))


@lru_cache(MAX_CACHED)
def _first_words(
    region: Region, tensor: tuple[int, ...], size: int, device: torch.device
) -> Tensor:
    """Index in the tensor of each row's first word: int64 [rows]."""
    return (_row_starts(region, tensor) * size // WORD).to(device)


@lru_cache(MAX_CACHED)
def _indices(count: int, device: torch.device) -> Tensor:
    return torch.arange(count, dtype=torch.int64, device=device)


def _steps(region: Region, tensor: Sequence[int]) -> list[int]:
    """Elements from the tensor's start to the region's, and from row to row."""
    strides = contiguous_strides(tensor)
    first = sum(begin * step for begin, step in zip(region.start, strides, strict=True))
    return [
        first,
        *(step for step, n in zip(strides[:-1], region.shape[:-1], strict=True) if n > 1),
    ]


def _row_starts(region: Region, tensor: Sequence[int]) -> Tensor:
    """Position in the tensor, in elements, of each row's first element: int64 [rows]."""
    starts = torch.zeros(1, dtype=torch.int64)
    strides = contiguous_strides(tensor)
    for axis, (begin, count) in enumerate(zip(region.start, region.shape, strict=True)):
        # The last dimension is the row itself.
        indices = torch.arange(begin, begin + (count if axis < len(tensor) - 1 else 1))
        starts = (starts[:, None] + indices * strides[axis]).reshape(-1)
    return starts


def _as_words(rows: Tensor) -> Tensor:
    # Columns of a larger matrix stay where they are: a copy costs more than the sum.
    at = rows.storage_offset() * rows.element_size()
    steady = rows.stride(-1) == 1 or rows.shape[-1] == 1
    whole = steady and _is_whole(at) and _is_whole(rows.stride(0) * rows.element_size())
    return (rows if whole else rows.contiguous()).view(torch.int64)


def _sum_of_rows(words: Tensor, starts: Tensor) -> int:
    """Sum of int64 [rows, words]; `starts`: index of each row's first word in the tensor."""
    rows, width = words.shape
    chunk = _CPU_CHUNK if words.device.type == "cpu" else max(1, words.numel())
    index = _indices(min(width, chunk), words.device)
    if words.numel() <= chunk:
        return int(_chunk(words, index, starts)) % MODULUS
    found = torch.zeros((), dtype=torch.int64, device=words.device)
    for column in range(0, width, chunk):
        part = words[:, column : column + chunk]
        step = max(1, chunk // part.shape[1])
        for row in range(0, rows, step):
            first = starts[row : row + step] + column
            found += _chunk(part[row : row + step], index[: part.shape[1]], first)
    # Asks a device once per tensor.
    return int(found) % MODULUS


def _chunk(words: Tensor, index: Tensor, first: Tensor) -> Tensor:
    # Of row r and column c: x (2 (first[r] + c) + 1), so two plain sums of the words are enough,
    # one per row and one per column. int64 wraps, which is modulo 2^64.
    rows, columns = words.sum(1), words.sum(0)
    return ((2 * first + 1) * rows).sum() + 2 * (columns * index).sum()


def _sum_of_elements(rows: Tensor, starts: Tensor) -> int:
    """Sum of [rows, elements] of any alignment; tens of times slower than by words."""
    size = rows.element_size()
    within = WORD // size
    index = torch.arange(rows.shape[1], dtype=torch.int64, device=rows.device)
    step, found = max(1, _CPU_CHUNK // rows.shape[1]), 0
    for row in range(0, rows.shape[0], step):
        bits = rows[row : row + step].contiguous().view(_BITS[size]).to(torch.int64)
        if size < WORD:
            bits &= (1 << 8 * size) - 1  # as unsigned
        position = starts[row : row + step].to(rows.device)[:, None] + index
        weight = 2 * (position // within) + 1
        found += int(((bits << (8 * size * (position % within))) * weight).sum())
    return found % MODULUS
