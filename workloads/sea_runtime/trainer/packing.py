"""Packs a batch of sequences into rows, one per data-parallel replica, microbatch by microbatch.

A microbatch is one row of tokens per replica: sequences end to end, none cut. Pipeline and expert
parallelism need every rank in every collective, so all replicas have the same number of
microbatches. Attention (`attention.py`) keeps the sequences of a row apart by `bounds`.

What goes with a token (masks, weights, log-probabilities) is laid out by the position that
*predicts* it: entry i of a row belongs to token i + 1 of the same sequence. Under context
parallelism a rank has only some positions of a row, and the next token may be on another rank.

Shape suffix: t tokens of a rank's part of a row, padding included.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sea_data.formats import sequences
from sea_runtime.parallel import row_balance
from sea_runtime.parallel.parallel_layout import Place
from sea_runtime.parallel.row_balance import SequenceWork

Rows = list[NDArray[Any]]
"""One array [S] per sequence of the batch, by the sequence's index."""
PerToken = Rows | Mapping[int, NDArray[Any]]
"""The same for the sequences that are computed, at least."""


@dataclass(frozen=True)
class Grid:
    """What a layout asks of rows."""

    rows: int
    """Rows of a microbatch: data-parallel replicas."""
    sequence_multiple: int = 1
    """Each sequence is padded to a multiple of it."""
    row_multiple: int = 1
    """Each row is padded to a multiple of it."""
    equal_rows: bool = False
    """All rows of all microbatches get one length."""

    def sequence(self, tokens: int) -> int:
        return _up(tokens, self.sequence_multiple)

    def row(self, tokens: int) -> int:
        """At least one unit: a rank without sequences computes on padding."""
        return max(self.row_multiple, _up(tokens, self.row_multiple))


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


@dataclass(frozen=True)
class Microbatch:
    """One row per data-parallel replica."""

    rows: tuple[tuple[int, ...], ...]
    """`rows[r]`: indices of the sequences of replica r, in their order."""
    lengths: tuple[int, ...]
    """Tokens of each row, padding included."""


def plan(lengths: Sequence[int], grid: Grid, capacity: int, work: SequenceWork) -> list[Microbatch]:
    """The microbatches that train sequences of the given lengths, longest rows first.

    Rows are bounded by tokens, which memory follows, and balanced by work, which time follows.

    Args:
        capacity: most tokens of a row; a longer sequence has a row of its own.

    Returns:
        Microbatches whose rows hold positions in `lengths`; the same on every rank.
    """
    lengths = [grid.sequence(length) for length in lengths]
    if grid.equal_rows:  # what is balanced then is padding
        work = SequenceWork(1.0, 0.0)
    count = -(-len(sequences.pack(lengths, capacity)) // grid.rows)
    rows = row_balance.balance(lengths, work, count * grid.rows, capacity)
    while rows is None:  # best-fit rows have room that balanced ones don't
        count += 1
        rows = row_balance.balance(lengths, work, count * grid.rows, capacity)
    longest = max((_tokens(row, lengths) for row in rows), default=0)
    # Rows come by their work: those of one microbatch are alike, so that no rank waits for long.
    found = [
        _microbatch(rows[i : i + grid.rows], lengths, grid, longest)
        for i in range(0, len(rows), grid.rows)
    ]
    # The longest row first, so that a lack of memory shows at once.
    return sorted(found, key=lambda one: -max(one.lengths))


def _microbatch(
    rows: Sequence[Sequence[int]], lengths: Sequence[int], grid: Grid, longest: int
) -> Microbatch:
    tokens = [longest if grid.equal_rows else _tokens(row, lengths) for row in rows]
    return Microbatch(tuple(map(tuple, rows)), tuple(map(grid.row, tokens)))


def _tokens(row: Sequence[int], lengths: Sequence[int]) -> int:
    return sum(lengths[i] for i in row)


def plan_chosen(
    tokens: Rows, chosen: Sequence[int], grid: Grid, capacity: int, work: SequenceWork
) -> list[Microbatch]:
    """As `plan`, for some sequences of a batch: rows hold indices in `tokens`.

    An index that is chosen twice (a batch larger than the data) is trained twice.
    """
    return [
        Microbatch(tuple(tuple(chosen[i] for i in row) for row in part.rows), part.lengths)
        for part in plan([len(tokens[i]) for i in chosen], grid, capacity, work)
    ]


def padding_fraction(microbatches: Sequence[Microbatch], tokens: int) -> float:
    """Padding as a fraction of all computed tokens; `tokens` is the sum over the sequences."""
    computed = sum(sum(one.lengths) for one in microbatches)
    return 1.0 - tokens / computed if computed else 0.0


@dataclass(frozen=True)
class PackedRow:
    """The row of one replica: where its sequences are. Pure."""

    sequences: tuple[int, ...]
    """Indices of the sequences that have tokens, in order."""
    sizes: tuple[int, ...]
    """Their tokens."""
    bounds: tuple[int, ...]
    """Where each of them begins, then the row's end; what pads the row is a sequence of its own,
    so that no real token attends to it."""

    @staticmethod
    def of(microbatch: Microbatch, row: int, lengths: Sequence[int], grid: Grid) -> "PackedRow":
        indices = tuple(i for i in microbatch.rows[row] if lengths[i])
        bounds = [0]
        for index in indices:
            bounds.append(bounds[-1] + grid.sequence(lengths[index]))
        if bounds[-1] < microbatch.lengths[row]:
            bounds.append(microbatch.lengths[row])
        return PackedRow(indices, tuple(lengths[i] for i in indices), tuple(bounds))

    @property
    def length(self) -> int:
        return self.bounds[-1]

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """Index, start in the row, and tokens of each sequence."""
        yield from zip(self.sequences, self.bounds, self.sizes, strict=False)

    def tokens(self, rows: Rows) -> NDArray[np.int64]:
        """[T] of the row's tokens; padding is token 0."""
        found = np.zeros(self.length, np.int64)
        for index, start, size in self.spans():
            found[start : start + size] = rows[index]
        return found

    def predicted(self, rows: PerToken, dtype: Any, fill: float = 0) -> NDArray[Any]:
        """[T] of what `rows` [S] say of the token that each position predicts; `fill` where it
        predicts none: at a sequence's last token and on padding.
        """
        found = np.full(self.length, fill, dtype)
        for index, start, size in self.spans():
            found[start : start + size - 1] = rows[index][1:]
        return found

    def split(self, values: NDArray[Any]) -> dict[int, NDArray[Any]]:
        """The inverse of `predicted`: [S] by sequence; 0 for first tokens, which none predicts."""
        first = np.zeros(1, values.dtype)
        return {
            index: np.concatenate([first, values[start : start + size - 1]])
            for index, start, size in self.spans()
        }


def part(bounds: Sequence[int], context: int, rank: int) -> NDArray[np.int64]:
    """Positions in a row of a context-parallel rank's part, [T / context].

    Of each sequence's 2 * context chunks, those with the numbers `rank` and
    2 * context - 1 - rank: together they attend to as many tokens on every rank. The split is
    Megatron's, whose RoPE for `thd` rows counts positions by it.
    """
    if context == 1:
        return np.arange(bounds[-1])
    return np.concatenate([np.arange(*chunk) for chunk in part_chunks(bounds, context, rank)])


def part_chunks(bounds: Sequence[int], context: int, rank: int) -> Iterator[tuple[int, int]]:
    """Start and end of each chunk of `part`, in order."""
    for start, end in pairwise(bounds):
        size = (end - start) // (2 * context)
        for chunk in (rank, 2 * context - 1 - rank):
            yield start + size * chunk, start + size * (chunk + 1)


@dataclass(frozen=True)
class MicrobatchTensors:
    """One microbatch on one rank: its part of its replica's row."""

    row: PackedRow
    part: NDArray[np.int64]
    """Positions in the row of the rank's tokens, [T]."""
    tokens_t: Tensor
    labels_t: Tensor
    """The next token of the same sequence; -1 where there is none, or nobody reads its log p."""

    def per_token(self, rows: PerToken, dtype: Any, fill: float = 0) -> Tensor:
        """Per-token arrays [S] of the batch's sequences, by the position that predicts the token:
        [T]; `fill` where a position predicts none.
        """
        return self._tensor(self.row.predicted(rows, dtype, fill))

    def per_sequence(self, values: Sequence[float]) -> Tensor:
        """Broadcasts one value per sequence to each of its tokens, [T]."""
        found = np.zeros(self.row.length, np.float32)
        for index, start, size in self.row.spans():
            found[start : start + size] = values[index]
        return self._tensor(found)

    def split(self, values_t: NDArray[Any]) -> dict[int, NDArray[Any]]:
        """The rank's values [T] as arrays [S] by sequence; 0 for tokens that others predict.

        Added up over the context-parallel ranks they are complete.
        """
        whole = np.zeros(self.row.length, values_t.dtype)
        whole[self.part] = values_t
        return self.row.split(whole)

    def _tensor(self, row: NDArray[Any]) -> Tensor:
        return torch.from_numpy(row[self.part]).to(self.tokens_t.device)


def iter_microbatches(
    microbatches: Sequence[Microbatch],
    grid: Grid,
    place: Place,
    tokens: Rows,
    wanted: PerToken,
    device: torch.device,
) -> Iterator[MicrobatchTensors]:
    """The rank's part of each microbatch, as tensors on `device`.

    Args:
        wanted: non-zero on the tokens whose log-probability is read, [S] per sequence. The others
            have no label, and the model's head computes nothing for them (`head.py`).
    """
    lengths = [len(one) for one in tokens]
    for one in microbatches:
        row = PackedRow.of(one, place.data_rank, lengths, grid)
        own = part(row.bounds, place.layout.context, place.context_rank)
        tokens_t = torch.from_numpy(row.tokens(tokens)[own]).to(device)
        labels = row.predicted(tokens, np.int64, fill=-1)
        labels[row.predicted(wanted, np.float32) == 0] = -1
        yield MicrobatchTensors(row, own, tokens_t, torch.from_numpy(labels[own]).to(device))
