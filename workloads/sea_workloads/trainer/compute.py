"""Runs microbatches through the model: log-probabilities of tokens, forward or with gradients.

Between the stages (`sft.py`, `rl.py`), which know what is trained, and the model. Every rank calls
with the same number of microbatches of the same shapes.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sea_workloads.trainer import objective, packing
from sea_workloads.trainer.device import training_device
from sea_workloads.trainer.model import Model
from sea_workloads.trainer.packing import Microbatch

Rows = list[NDArray[Any]]


@dataclass(frozen=True)
class Cut:
    """One microbatch of this rank."""

    microbatch: Microbatch
    rank: int
    tokens_bs: Tensor
    real_bs: Tensor
    """1 on tokens, 0 on padding."""

    def field(self, rows: Rows, dtype: Any, fill: float = 0) -> Tensor:
        """[B, S] of a per-token array of each sequence, padded as the tokens are."""
        array = packing.pad(self.microbatch, self.rank, lambda i: rows[i], dtype, fill)
        return torch.from_numpy(array).to(self.tokens_bs.device)

    def number(self, values: Any) -> Tensor:
        """[B] of one number a sequence."""
        array = packing.per_sequence(self.microbatch, self.rank, values)
        return torch.from_numpy(array).to(self.tokens_bs.device)


def cuts(model: Model, tokens: Rows, chosen: list[int] | None = None) -> Iterator[Cut]:
    """This rank's share of the sequences (all, or the chosen ones), longest microbatches first."""
    indices = list(range(len(tokens))) if chosen is None else chosen
    plan = packing.plan([len(tokens[i]) for i in indices], model.layout.world)
    lengths_all = [len(one) for one in tokens]
    for part in plan:
        rows = tuple(tuple(i if i < 0 else indices[i] for i in row) for row in part.rows)
        microbatch = Microbatch(rows, part.length)
        array = packing.pad(microbatch, model.layout.rank, lambda i: tokens[i], np.int64)
        lengths = packing.per_sequence(microbatch, model.layout.rank, lengths_all)
        real = np.arange(part.length)[None, :] < lengths[:, None]
        tokens_bs, real_bs = (torch.from_numpy(x).to(training_device()) for x in (array, real))
        yield Cut(microbatch, model.layout.rank, tokens_bs, real_bs)


def logprobs(model: Model, cut: Cut, temperature: float = 1.0, *, grad: bool = True) -> Tensor:
    """log p of each token of the microbatch, [B, S]."""
    context: AbstractContextManager[Any] = nullcontext() if grad else torch.no_grad()
    b, s = cut.tokens_bs.shape
    positions = torch.arange(s, device=cut.tokens_bs.device).expand(b, s)
    with context:
        logits = model(cut.tokens_bs, positions)
        return objective.token_logprobs(logits, cut.tokens_bs, temperature)
