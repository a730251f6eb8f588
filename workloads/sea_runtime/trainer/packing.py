"""Packs a batch of sequences into rows of tokens of equal length on all ranks.

Pure. A microbatch is one row of tokens a rank: sequences one after the other, none cut, filled up
to the microbatch's length, which is the same everywhere: expert parallelism needs every rank in
every collective, with as many tokens. Rows are evened out over all ranks and microbatches, so what
fills them up is little; `bounds` tells attention (`trainer/attention.py`) where a sequence ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sea_data.formats import sequences


@dataclass(frozen=True)
class Microbatch:
    """`rows[r]` are the sequences of rank r in their order; every row is `length` tokens long."""

    rows: tuple[tuple[int, ...], ...]
    length: int


def plan(lengths: Sequence[int], ranks: int, capacity: int) -> list[Microbatch]:
    """The microbatches that train all sequences of the given lengths, longest first.

    No row is longer than `capacity` tokens, but for one that a longer sequence has to itself.
    """
    count = -(-len(sequences.pack(lengths, capacity)) // ranks)
    rows = sequences.balance(lengths, count * ranks)
    while any(_tokens(row, lengths) > capacity and len(row) > 1 for row in rows):
        count += 1
        rows = sequences.balance(lengths, count * ranks)
    rows.sort(key=lambda row: -_tokens(row, lengths))
    return [
        Microbatch(tuple(map(tuple, part)), max(1, _tokens(part[0], lengths)))
        for part in (rows[i : i + ranks] for i in range(0, len(rows), ranks))
    ]


def _tokens(row: Sequence[int], lengths: Sequence[int]) -> int:
    return sum(lengths[i] for i in row)


def filling(microbatches: Sequence[Microbatch], tokens: int) -> float:
    """Share of the tokens computed that only fill rows up; `tokens` is the sequences' sum."""
    computed = sum(len(one.rows) * one.length for one in microbatches)
    return 1.0 - tokens / computed if computed else 0.0


def row(
    microbatch: Microbatch,
    rank: int,
    values: Callable[[int], NDArray[Any]],
    dtype: Any,
    fill: float = 0,
) -> NDArray[Any]:
    """[T] of this rank's sequences' values, one sequence after the other, filled up at the end."""
    parts = [np.asarray(values(index), dtype) for index in microbatch.rows[rank]]
    room = microbatch.length - sum(map(len, parts))
    return np.concatenate([*parts, np.full(room, fill, dtype)])


def bounds(microbatch: Microbatch, rank: int, lengths: Sequence[int]) -> list[int]:
    """Where sequences begin in this rank's row, and T at the end; the filling is one of its own.

    Sequences without tokens have no bound.
    """
    found = [0]
    for index in microbatch.rows[rank]:
        if lengths[index]:
            found.append(found[-1] + lengths[index])
    return found if found[-1] == microbatch.length else [*found, microbatch.length]
