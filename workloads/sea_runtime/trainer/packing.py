"""Packs a batch of sequences into rows of equal length on all ranks, microbatch by microbatch.

A microbatch is one row of tokens per rank: sequences end to end, none cut, padded to the
microbatch's length. Expert parallelism needs every rank in every collective with the same number
of tokens, so all ranks have the same microbatches. Rows are balanced over all ranks and
microbatches, so padding is small; attention (`attention.py`) keeps sequences apart by `bounds`.

Shape suffix: t tokens of a row, padding included.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sea_data.formats import sequences

Rows = list[NDArray[Any]]
"""One array [S] per sequence of the batch, by the sequence's index."""


@dataclass(frozen=True)
class Microbatch:
    """One row per rank; every row is `length` tokens long."""

    rows: tuple[tuple[int, ...], ...]
    """`rows[r]`: indices of the sequences of rank r, in their order."""
    length: int


def plan(lengths: Sequence[int], ranks: int, capacity: int) -> list[Microbatch]:
    """The microbatches that train sequences of the given lengths, longest microbatch first.

    Args:
        capacity: most tokens of a row; a longer sequence has a row of its own.

    Returns:
        Microbatches whose rows hold positions in `lengths`; the same on every rank.
    """
    count = -(-len(sequences.pack(lengths, capacity)) // ranks)
    rows = sequences.balance(lengths, count * ranks)
    # Balanced rows may exceed the capacity although best-fit rows don't: add a row per rank until
    # they fit, or only single long sequences are left.
    while any(_tokens(row, lengths) > capacity and len(row) > 1 for row in rows):
        count += 1
        rows = sequences.balance(lengths, count * ranks)
    # Rows of one microbatch get similar lengths, and the longest comes first, so that a lack of
    # memory shows at once.
    rows.sort(key=lambda row: -_tokens(row, lengths))
    return [
        Microbatch(tuple(map(tuple, part)), max(1, _tokens(part[0], lengths)))
        for part in (rows[i : i + ranks] for i in range(0, len(rows), ranks))
    ]


def _tokens(row: Sequence[int], lengths: Sequence[int]) -> int:
    return sum(lengths[i] for i in row)


def plan_chosen(tokens: Rows, chosen: Sequence[int], ranks: int, capacity: int) -> list[Microbatch]:
    """As `plan`, for some sequences of a batch: rows hold indices in `tokens`.

    An index that is chosen twice (a batch larger than the data) is trained twice.
    """
    return [
        Microbatch(tuple(tuple(chosen[i] for i in row) for row in part.rows), part.length)
        for part in plan([len(tokens[i]) for i in chosen], ranks, capacity)
    ]


def padding_fraction(microbatches: Sequence[Microbatch], tokens: int) -> float:
    """Padding as a fraction of all computed tokens; `tokens` is the sum over the sequences."""
    computed = sum(len(one.rows) * one.length for one in microbatches)
    return 1.0 - tokens / computed if computed else 0.0


def row(
    microbatch: Microbatch,
    rank: int,
    values: Callable[[int], NDArray[Any]],
    dtype: Any,
    fill: float = 0,
) -> NDArray[Any]:
    """[T] of this rank's per-token values, sequence after sequence, padded with `fill`."""
    parts = [np.asarray(values(index), dtype) for index in microbatch.rows[rank]]
    padding = microbatch.length - sum(map(len, parts))
    return np.concatenate([*parts, np.full(padding, fill, dtype)])


def bounds(microbatch: Microbatch, rank: int, lengths: Sequence[int]) -> list[int]:
    """Where the sequences of this rank's row begin, then T; padding counts as one sequence.

    Sequences without tokens have no bound.
    """
    found = [0]
    for index in microbatch.rows[rank]:
        if lengths[index]:
            found.append(found[-1] + lengths[index])
    # Padding as a sequence of its own: no real token attends to it.
    return found if found[-1] == microbatch.length else [*found, microbatch.length]


@dataclass(frozen=True)
class MicrobatchTensors:
    """One microbatch of this rank: a row of T tokens, sequence after sequence."""

    microbatch: Microbatch
    rank: int
    bounds: list[int]
    tokens_t: Tensor
    starts_t: Tensor
    """True where a sequence (or the padding) starts: such a token has no past."""

    def per_token(
        self, rows: Rows | Mapping[int, NDArray[Any]], dtype: Any, fill: float = 0
    ) -> Tensor:
        """Lays per-token arrays [S] of the batch's sequences out like the row's tokens, [T]."""
        values_t = row(self.microbatch, self.rank, lambda i: rows[i], dtype, fill)
        return torch.from_numpy(values_t).to(self.tokens_t.device)

    def per_sequence(self, values: Sequence[float], tokens: Rows) -> Tensor:
        """Broadcasts one value per sequence to each of its tokens, [T]; `tokens` of the batch."""
        values_t = row(
            self.microbatch,
            self.rank,
            lambda i: np.full(len(tokens[i]), values[i], np.float32),
            np.float32,
        )
        return torch.from_numpy(values_t).to(self.tokens_t.device)

    def split(self, values_t: NDArray[Any], tokens: Rows) -> dict[int, NDArray[Any]]:
        """The row's values [T] as arrays [S], by the index of their sequence."""
        found, start = {}, 0
        for index in self.microbatch.rows[self.rank]:
            found[index] = values_t[start : start + len(tokens[index])]
            start += len(tokens[index])
        return found


def iter_microbatches(
    microbatches: Sequence[Microbatch], rank: int, tokens: Rows, device: torch.device
) -> Iterator[MicrobatchTensors]:
    """This rank's row of each microbatch, as tensors on `device`."""
    lengths = [len(one) for one in tokens]
    for one in microbatches:
        row_bounds = bounds(one, rank, lengths)
        starts_t = np.zeros(one.length, np.bool_)
        starts_t[row_bounds[:-1]] = True
        tokens_t = row(one, rank, lambda i: tokens[i], np.int64)
        yield MicrobatchTensors(
            one,
            rank,
            row_bounds,
            torch.from_numpy(tokens_t).to(device),
            torch.from_numpy(starts_t).to(device),
        )
