"""Rectangles in tensors: what a trainer's block holds, what an engine's worker needs. Pure.

A block of a weight version is a region of a Hugging Face tensor, stored contiguously. An engine's
worker needs regions too, recorded from its own loaders (`rollout/vllm_plugin/recorder.py`); it
reads the blocks that overlap them. Indices and shapes count elements.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod


class UnsupportedRegionError(ValueError):
    """What a loader takes of a tensor is no rectangle in the tensor's own order."""


@dataclass(frozen=True)
class Region:
    """`shape` elements from `start` on, per dimension; a scalar has no dimensions."""

    start: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def whole(cls, shape: Sequence[int]) -> "Region":
        return cls((0,) * len(shape), tuple(shape))

    @property
    def elements(self) -> int:
        return prod(self.shape)

    def intersection(self, other: "Region") -> "Region | None":
        """What both hold of the same tensor; None if nothing."""
        start = tuple(map(max, zip(self.start, other.start, strict=True)))
        stop = map(min, zip(self._stop(), other._stop(), strict=True))
        shape = tuple(end - begin for begin, end in zip(start, stop, strict=True))
        return Region(start, shape) if all(size > 0 for size in shape) else None

    def contains(self, other: "Region") -> bool:
        return self.intersection(other) == other

    def within(self, outer: "Region") -> tuple[slice, ...]:
        """Index of this region in a tensor that holds just `outer`."""
        return tuple(
            slice(begin - origin, begin - origin + size)
            for begin, origin, size in zip(self.start, outer.start, self.shape, strict=True)
        )

    def _stop(self) -> tuple[int, ...]:
        return tuple(begin + size for begin, size in zip(self.start, self.shape, strict=True))


def cut(shape: Sequence[int], dim: int, bounds: Iterable[int]) -> list[Region]:
    """The tensor cut across `dim` at each of `bounds` (0 and the size are implied)."""
    edges = sorted({0, shape[dim], *(bound for bound in bounds if 0 < bound < shape[dim])})
    return [
        Region(
            tuple(low if axis == dim else 0 for axis in range(len(shape))),
            tuple(high - low if axis == dim else size for axis, size in enumerate(shape)),
        )
        for low, high in pairwise(edges)
    ]


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of a contiguous tensor."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def strided(
    tensor: Sequence[int], offset: int, shape: Sequence[int], stride: Sequence[int]
) -> Region:
    """The region of a contiguous tensor that a strided view shows, if it is one.

    Args:
        tensor: the whole tensor's shape.
        offset: of the view's first element; `shape` and `stride` as torch has them.

    Raises:
        UnsupportedRegionError: the view reorders elements, repeats them or is no rectangle.
    """
    strides = contiguous_strides(tensor)
    end = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    first, last = _index(offset, tensor, strides), _index(end, tensor, strides)
    region = Region(first, tuple(b - a + 1 for a, b in zip(first, last, strict=True)))
    # Equal walks through memory, whatever dimensions of size 1 or splits of a run are in between.
    if min(region.shape, default=1) < 1 or _walk(shape, stride) != _walk(region.shape, strides):
        raise UnsupportedRegionError(
            f"A view of {list(shape)} elements with strides {list(stride)} at {offset} is no "
            f"rectangle of a tensor {list(tensor)}."
        )
    return region


def _index(position: int, shape: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    return tuple(position // step % size for size, step in zip(shape, strides, strict=True))


def _walk(shape: Sequence[int], stride: Sequence[int]) -> list[tuple[int, int]]:
    """(size, stride) with sizes of 1 left out and adjacent runs joined."""
    found: list[tuple[int, int]] = []
    for size, step in zip(shape, stride, strict=True):
        if size == 1:
            continue
        if found and found[-1][1] == step * size:
            found[-1] = (found[-1][0] * size, step)
        else:
            found.append((size, step))
    return found


@dataclass(frozen=True)
class Run:
    """Adjacent bytes: from `remote` in a shard to `local` in the reader's buffer."""

    remote: int
    local: int
    nbytes: int


def runs(pieces: Iterable[Run], alignment: int) -> list[Run]:
    """Joins pieces that follow each other on both sides, but for the same padding.

    Less padding than `alignment`: it is read along, which costs less than a run of its own.
    """
    found: list[Run] = []
    for piece in pieces:
        last = found[-1] if found else None
        if last is not None and 0 <= (gap := _gap(last, piece)) < alignment:
            found[-1] = Run(last.remote, last.local, last.nbytes + gap + piece.nbytes)
        else:
            found.append(piece)
    return found


def _gap(last: Run, piece: Run) -> int:
    """Bytes between two pieces, the same on both sides; -1 if they aren't."""
    remote = piece.remote - last.remote - last.nbytes
    local = piece.local - last.local - last.nbytes
    return remote if remote == local else -1
