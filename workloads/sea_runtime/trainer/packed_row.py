"""One row on one rank: where the sequences of a microbatch are, and what goes with their tokens.

`packing.py` decides which sequences share a row; `attention.py` keeps them apart, by `spans`, and
lets a sequence see the prompt that it shares with another.

What goes with a token (masks, weights, log-probabilities) is laid out by the position that
*predicts* it: entry i of a row belongs to token i + 1 of the same sequence. Under context
parallelism a rank has only some positions of a row, and the next token may be on another rank.

Shape suffix: t tokens of a rank's part of a row, padding included.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sea_runtime.parallel.parallel_layout import Place
from sea_runtime.trainer.packing import Grid, Microbatch
from sea_runtime.trainer.row_spans import Span
from sea_runtime.trainer.shared_prefixes import Part, PerToken, Rows

Choices = list[NDArray[Any] | None]
"""The experts that the engine chose, [S, layers of the rank, k] per sequence; None where it didn't
say, and of sequences in other ranks' rows."""
CHOOSE = -1
"""In place of an expert: the trainer's router chooses itself."""


@dataclass(frozen=True)
class PackedRow:
    """The row of one replica: where its sequences are. Pure."""

    parts: tuple[Part, ...]
    """Parts of the sequences that have tokens, in order."""
    lengths: tuple[int, ...]
    """Tokens of these sequences, as wholes."""
    heads: tuple[int, ...]
    """For each part, the position in the row of the sequence that has its tokens before `begin`."""
    bounds: tuple[int, ...]
    """Where each part begins, then the row's end; what pads the row is a sequence of its own, so
    that no real token attends to it."""

    @staticmethod
    def of(microbatch: Microbatch, row: int, lengths: Sequence[int], grid: Grid) -> "PackedRow":
        # `head` stays at the bundle's first part, whose prompt the others attend to. Each part is
        # padded to the grid's multiple, so that context ranks get chunks of equal size.
        parts, heads, bounds = [], [], [0]
        for bundle in microbatch.bundles[row]:
            head = bounds[-1]
            for part in bundle:
                if part.tokens:
                    parts.append(part)
                    heads.append(head)
                    bounds.append(bounds[-1] + grid.sequence(part.tokens))
        if bounds[-1] < microbatch.lengths[row]:
            bounds.append(microbatch.lengths[row])
        whole = tuple(lengths[part.index] for part in parts)
        return PackedRow(tuple(parts), whole, tuple(heads), tuple(bounds))

    @property
    def length(self) -> int:
        return self.bounds[-1]

    def placed(self) -> Iterator[tuple[Part, int]]:
        """Each part, and where it begins in the row."""
        yield from zip(self.parts, self.bounds, strict=False)

    def spans(self) -> list[Span]:
        """What each token attends to; the padding is a sequence too."""
        found = [
            Span(start, end, start, head, part.begin)
            for (start, end), part, head in zip(
                pairwise(self.bounds), self.parts, self.heads, strict=False
            )
        ]
        if len(self.bounds) > len(self.parts) + 1:
            start, end = self.bounds[-2:]
            found.append(Span(start, end, start))
        return found

    def positions(self) -> NDArray[np.int64]:
        """[T] of each token's number in its sequence."""
        # Padding gets positions too: attention computes them, and nothing reads the result.
        found = np.concatenate([np.arange(b - a) for a, b in pairwise(self.bounds)])
        for part, start in self.placed():
            found[start : start + part.tokens] += part.begin
        return found

    def tokens(self, rows: Rows) -> NDArray[np.int64]:
        """[T] of the row's tokens; padding is token 0."""
        found = np.zeros(self.length, np.int64)
        for part, start in self.placed():
            found[start : start + part.tokens] = rows[part.index][part.begin : part.end]
        return found

    def predicted(self, rows: PerToken, dtype: Any, fill: float = 0) -> NDArray[Any]:
        """[T] of what `rows` [S] say of the token that each position predicts; `fill` where it
        predicts none: at a part's last token and on padding.
        """
        found = np.full(self.length, fill, dtype)
        for part, start in self.placed():
            own = rows[part.index][part.begin + 1 : part.end]
            found[start : start + part.tokens - 1] = own
        return found

    def experts(self, choices: Choices) -> NDArray[np.int16] | None:
        """[T, layers of the rank, k] of the experts chosen for each token, a shared prompt's as
        the first sequence chose them; `CHOOSE` on padding. None if no sequence of the row has any.
        """
        known = [(one, start, choices[one.index]) for one, start in self.placed()]
        first = next((chosen for _, _, chosen in known if chosen is not None), None)
        if first is None:
            return None
        found = np.full((self.length, *first.shape[1:]), CHOOSE, np.int16)
        for one, start, chosen in known:
            if chosen is not None:
                found[start : start + one.tokens] = chosen[one.begin : one.end]
        return found

    def split(self, values: NDArray[Any]) -> dict[int, NDArray[Any]]:
        """The inverse of `predicted`: [S] by sequence; 0 for tokens that no position predicts."""
        found = {}
        for (part, start), length in zip(self.placed(), self.lengths, strict=True):
            whole = np.zeros(length, values.dtype)
            whole[part.begin + 1 : part.end] = values[start : start + part.tokens - 1]
            found[part.index] = whole
        return found


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
    read: NDArray[np.int64]
    """Those of the rank's tokens that have a label, sorted."""
    experts_tlk: Tensor | None = None
    """Experts of the rank's layers, as the engine chose them; None: the routers choose."""

    def per_token(self, rows: PerToken, dtype: Any, fill: float = 0) -> Tensor:
        """Per-token arrays [S] of the batch's sequences, by the position that predicts the token:
        [T]; `fill` where a position predicts none.
        """
        return self._tensor(self.row.predicted(rows, dtype, fill))

    def per_sequence(self, values: Sequence[float]) -> Tensor:
        """Broadcasts one value per sequence to each of its tokens, [T]."""
        found = np.zeros(self.row.length, np.float32)
        for one, start in self.row.placed():
            found[start : start + one.tokens] = values[one.index]
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
    choices: Choices | None = None,
) -> Iterator[MicrobatchTensors]:
    """The rank's part of each microbatch, as tensors on `device`.

    Args:
        wanted: non-zero on the tokens whose log-probability is read, [S] per sequence. The others
            have no label, and the model's head computes nothing for them (`head.py`).
        choices: experts to replay (`router_replay.py`); None: the routers choose.
    """
    lengths = [len(one) for one in tokens]
    for one in microbatches:
        row = PackedRow.of(one, place.data_rank, lengths, grid)
        own = part(row.bounds, place.layout.context, place.context_rank)
        tokens_t = torch.from_numpy(row.tokens(tokens)[own]).to(device)
        labels = row.predicted(tokens, np.int64, fill=-1)
        labels[row.predicted(wanted, np.float32) == 0] = -1
        labels = labels[own]
        labels_t = torch.from_numpy(labels).to(device)
        chosen = row.experts(choices) if choices else None
        experts_tlk = None if chosen is None else torch.from_numpy(chosen[own]).to(device)
        read = np.flatnonzero(labels >= 0)
        yield MicrobatchTensors(row, own, tokens_t, labels_t, read, experts_tlk)
