"""Runs a batch's microbatches through the model, on every layout by one path.

Megatron's schedule sends activations from stage to stage (1F1B) and, with one stage, accumulates
gradients without sending anything. Log-probabilities exist on the last stage only, in equal copies
on each of its tensor ranks; `Place.reports` says whose sums count.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from sea_runtime.trainer.model import Model
from sea_runtime.trainer.packed_row import Choices, MicrobatchTensors
from sea_runtime.trainer.packing import Microbatch
from sea_runtime.trainer.shared_prefixes import PerToken, Rows

Objective = Callable[[MicrobatchTensors, Tensor, Tensor], Tensor]
"""Of a microbatch, its log-probabilities [T] and its entropies [T], which have no gradient: the
scalar loss; a sum, not a mean."""
Sink = Callable[[MicrobatchTensors, Tensor], None]


def train(
    model: Model,
    plan: Sequence[Microbatch],
    tokens: Rows,
    wanted: PerToken,
    objective: Objective,
    alive: Callable[[], None],
    temperature: float = 1.0,
    *,
    entropy: bool = False,
    choices: Choices | None = None,
) -> None:
    """Adds the gradients of the objective over all microbatches. Collective.

    Args:
        wanted: non-zero on the tokens whose log p the objective reads; that of others is 0.
        objective: called on the last stage, once per microbatch.
        alive: called once per microbatch on every rank.
        entropy: give the objective entropies; otherwise they are 0.
        choices: experts to replay; None: the routers choose.
    """
    passes = _Passes(model, objective, alive, temperature, entropy, choices)
    passes.run(plan, tokens, wanted, forward_only=False)


def logprobs(
    model: Model,
    plan: Sequence[Microbatch],
    tokens: Rows,
    wanted: PerToken,
    sink: Sink,
    alive: Callable[[], None],
    temperature: float = 1.0,
    choices: Choices | None = None,
) -> None:
    """Gives `sink` the log-probabilities [T] of each microbatch, on the last stage, without
    gradients; 0 where `wanted` is. Collective.
    """

    def objective(microbatch: MicrobatchTensors, logp_t: Tensor, _: Tensor) -> Tensor:
        sink(microbatch, logp_t)
        return logp_t.sum()

    passes = _Passes(model, objective, alive, temperature, entropy=False, choices=choices)
    passes.run(plan, tokens, wanted, forward_only=True)


@dataclass(frozen=True)
class _Passes:
    model: Model
    objective: Objective
    alive: Callable[[], None]
    temperature: float
    entropy: bool
    choices: Choices | None

    def run(
        self,
        plan: Sequence[Microbatch],
        tokens: Rows,
        wanted: PerToken,
        *,
        forward_only: bool,
    ) -> None:
        context: AbstractContextManager[Any] = torch.no_grad() if forward_only else nullcontext()
        self.model.replay.clear()
        with context:
            get_forward_backward_func()(
                forward_step_func=self._forward,
                data_iterator=self.model.microbatches(plan, tokens, wanted, self.choices),
                model=[self.model.ddp],
                num_microbatches=len(plan),
                # Of the part of a row that a context rank has; read only where the shapes of
                # activations aren't sent ahead of them (`model.transformer_config`).
                seq_length=max(plan[0].lengths),
                micro_batch_size=1,
                forward_only=forward_only,
            )

    def _forward(self, batches: Iterator[MicrobatchTensors], _: Any) -> tuple[Tensor, Any]:
        self.alive()
        batch = next(batches)
        out = self.model.forward(batch, self.temperature, entropy=self.entropy)

        def loss(values: Tensor) -> tuple[Tensor, Tensor, dict[str, Any]]:
            logp_t, entropy_t = values
            # Three values: with two the schedule divides the loss by the number of microbatches,
            # although coefficients are normalized over the batch already.
            found = self.objective(batch, logp_t, entropy_t.detach())
            return found, torch.tensor(0, dtype=torch.int), {}

        return out, loss
