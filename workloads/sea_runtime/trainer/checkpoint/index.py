"""What one rank's state object holds: runs of flattened parameters, their place, and checksums.

A rank saves the share that its distributed optimizer holds: for each of its parameters a run of
elements, as main parameter (FP32, which the model's parameter is a rounding of) and two moments.
The object has three sections, one per kind, each of which holds the runs in the same order:

    param of run 0, param of run 1, ... | exp_avg of run 0, ... | exp_avg_sq of run 0, ...

The index is stored next to it. `reshard.py` finds any rectangle of a Hugging Face tensor in it, so
that a rank of another layout, or an export, reads just what it needs.
"""

from collections.abc import Iterator, Sequence

import xxhash

from sea_runtime.wire.base import Message, Part

KINDS = ("param", "exp_avg", "exp_avg_sq")
"""Megatron's names of the main parameter and of Adam's moments."""
WEIGHTS = KINDS[:1]
ALIGNMENT = 64
"""A section begins at a multiple of it: any dtype can be viewed there."""
PIECE = 1 << 20
"""Bytes per checksum: what a reader needs is rounded up to pieces, so that all it reads is checked.
A rank of the reference run has 59 GB, and 57,000 checksums of 16 digits."""
ITEM_SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}


class ParameterRun(Part):
    """Elements `start` to `stop` of a flattened parameter of the rank."""

    parameter: str
    """Its name in `parallel/weight_map.py`."""
    start: int
    stop: int

    @property
    def elements(self) -> int:
        return self.stop - self.start


class Section(Part):
    kind: str
    dtype: str
    offset: int
    """Bytes, in the object."""


class RankIndex(Message):
    """`rank-00003.json`, of the object `rank-00003.state`."""

    rank: int
    runs: list[ParameterRun]
    sections: list[Section]
    nbytes: int
    pieces: list[str]
    """xxh3 (64 bits, hex) of each `PIECE` bytes of the object."""
    optimizer_step: int
    rng: str
    """State of torch's CPU generator, base64."""

    def section(self, kind: str) -> Section:
        """Raises KeyError if the object has no such kind."""
        found = {one.kind: one for one in self.sections}
        return found[kind]

    @property
    def elements(self) -> int:
        return sum(run.elements for run in self.runs)


def sections(dtypes: Sequence[tuple[str, str]], elements: int) -> tuple[list[Section], int]:
    """The sections of an object, and its size in bytes.

    Args:
        dtypes: kind and dtype of each.
        elements: of one section.
    """
    found: list[Section] = []
    at = 0
    for kind, dtype in dtypes:
        found.append(Section(kind=kind, dtype=dtype, offset=at))
        at += -(-elements * ITEM_SIZES[dtype] // ALIGNMENT) * ALIGNMENT
    return found, at


def checksum(data: memoryview) -> str:
    """xxh3 of one piece, in hex; releases the GIL."""
    return f"{xxhash.xxh3_64_intdigest(data):016x}"


def checksums(data: memoryview) -> Iterator[str]:
    """Checksum of each piece of an object, or of a part that begins with a piece."""
    for start in range(0, len(data), PIECE):
        yield checksum(data[start : start + PIECE])


def wrong_pieces(index: RankIndex, start: int, data: memoryview) -> list[int]:
    """Numbers of the pieces that differ from the index.

    Args:
        start: of `data` in the object: a multiple of `PIECE`.
    """
    first = start // PIECE
    return [
        first + number
        for number, found in enumerate(checksums(data))
        if found != index.pieces[first + number]
    ]
