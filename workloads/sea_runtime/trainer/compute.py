"""Runs microbatches through the model: log-probabilities of tokens, forward or with gradients.

Between the stages (`sft.py`, `rl.py`), which know what is trained, and the model. Every rank calls
with the same number of microbatches of the same lengths.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sea_runtime.trainer import objective, packing
from sea_runtime.trainer.device import training_device
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.packing import Microbatch

Rows = list[NDArray[Any]]


@dataclass(frozen=True)
class Cut:
    """One microbatch of this rank: a row of T tokens, sequence after sequence."""

    microbatch: Microbatch
    rank: int
    bounds: list[int]
    tokens_t: Tensor
    first_t: Tensor
    """True where a sequence (or the filling) begins: such a token has no past."""

    def field(self, rows: Rows | Mapping[int, NDArray[Any]], dtype: Any, fill: float = 0) -> Tensor:
        """[T] of each sequence's per-token array, by its index, laid out as the tokens are."""
        array = packing.row(self.microbatch, self.rank, lambda i: rows[i], dtype, fill)
        return torch.from_numpy(array).to(self.tokens_t.device)

    def number(self, values: Sequence[float], tokens: Rows) -> Tensor:
        """[T] of one number a sequence, on each of its tokens; `tokens` are all sequences'."""
        array = packing.row(
            self.microbatch,
            self.rank,
            lambda i: np.full(len(tokens[i]), values[i], np.float32),
            np.float32,
        )
        return torch.from_numpy(array).to(self.tokens_t.device)

    def split(self, values_t: NDArray[Any], tokens: Rows) -> dict[int, NDArray[Any]]:
        """A row's values by the index of their sequence."""
        found, start = {}, 0
        for index in self.microbatch.rows[self.rank]:
            found[index] = values_t[start : start + len(tokens[index])]
            start += len(tokens[index])
        return found


def plan(model: Model, tokens: Rows, chosen: Sequence[int]) -> list[Microbatch]:
    """The microbatches of the chosen sequences, by their indices; the same on every rank."""
    lengths = [len(tokens[i]) for i in chosen]
    return [
        Microbatch(tuple(tuple(chosen[i] for i in row) for row in part.rows), part.length)
        for part in packing.plan(lengths, model.layout.world, model.row_tokens)
    ]


def cuts(model: Model, tokens: Rows, chosen: Sequence[int]) -> Iterator[Cut]:
    """This rank's share of the chosen sequences, longest microbatches first."""
    lengths, rank = [len(one) for one in tokens], model.layout.rank
    for part in plan(model, tokens, chosen):
        bounds = packing.bounds(part, rank, lengths)
        first = np.zeros(part.length, np.bool_)
        first[bounds[:-1]] = True
        array = packing.row(part, rank, lambda i: tokens[i], np.int64)
        tokens_t, first_t = (torch.from_numpy(x).to(training_device()) for x in (array, first))
        yield Cut(part, rank, bounds, tokens_t, first_t)


def filling(model: Model, tokens: Rows, chosen: Sequence[int]) -> float:
    """Share of the computed tokens of these sequences that only fill rows up."""
    return packing.filling(plan(model, tokens, chosen), sum(len(tokens[i]) for i in chosen))


def logprobs(model: Model, cut: Cut, temperature: float = 1.0, *, grad: bool = True) -> Tensor:
    """log p of each token of the microbatch given its own sequence, [T]."""
    context: AbstractContextManager[Any] = nullcontext() if grad else torch.no_grad()
    with context:
        logits_tv = model(cut.tokens_t, cut.bounds)
        return objective.token_logprobs(logits_tv, cut.tokens_t, cut.first_t, temperature)
