"""Runs a batch's microbatches through the model, on every layout by one path.

Megatron's schedule sends activations from stage to stage (1F1B) and, with one stage, accumulates
gradients without sending anything. Log-probabilities exist on the last stage only, in equal copies
on each of its tensor ranks; `Place.reports` says whose sums count.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from sea_runtime.trainer.model import Model
from sea_runtime.trainer.packing import Microbatch, MicrobatchTensors, Rows

Objective = Callable[[MicrobatchTensors, Tensor], Tensor]
"""Of a microbatch and its log-probabilities [T]: the scalar loss; a sum, not a mean."""
Sink = Callable[[MicrobatchTensors, Tensor], None]


def train(
    model: Model,
    plan: Sequence[Microbatch],
    tokens: Rows,
    objective: Objective,
    alive: Callable[[], None],
    temperature: float = 1.0,
) -> None:
    """Adds the gradients of the objective over all microbatches. Collective.

    Args:
        objective: called on the last stage, once per microbatch.
        alive: called once per microbatch on every rank.
    """
    _run(model, plan, tokens, objective, alive, temperature, forward_only=False)


def logprobs(
    model: Model,
    plan: Sequence[Microbatch],
    tokens: Rows,
    sink: Sink,
    alive: Callable[[], None],
    temperature: float = 1.0,
) -> None:
    """Gives `sink` the log-probabilities [T] of each microbatch, on the last stage, without
    gradients. Collective.
    """

    def objective(microbatch: MicrobatchTensors, logp_t: Tensor) -> Tensor:
        sink(microbatch, logp_t)
        return logp_t.sum()

    _run(model, plan, tokens, objective, alive, temperature, forward_only=True)


def _run(
    model: Model,
    plan: Sequence[Microbatch],
    tokens: Rows,
    objective: Objective,
    alive: Callable[[], None],
    temperature: float,
    *,
    forward_only: bool,
) -> None:
    def forward(batches: Iterator[MicrobatchTensors], ddp: Any) -> tuple[Tensor, Any]:
        alive()
        batch = next(batches)
        out = model.forward(batch, temperature)

        def loss(logp_t: Tensor) -> tuple[Tensor, Tensor, dict[str, Any]]:
            # Three values: with two the schedule divides the loss by the number of microbatches,
            # although coefficients are normalized over the batch already.
            return objective(batch, logp_t), torch.tensor(0, dtype=torch.int), {}

        return out, loss

    context: AbstractContextManager[Any] = torch.no_grad() if forward_only else nullcontext()
    with context:
        get_forward_backward_func()(
            forward_step_func=forward,
            data_iterator=model.microbatches(plan, tokens),
            model=[model.ddp],
            num_microbatches=len(plan),
            # Of the part of a row that a context rank has; read only where the shapes of
            # activations aren't sent ahead of them (`model.transformer_config`).
            seq_length=max(plan[0].lengths),
            micro_batch_size=1,
            forward_only=forward_only,
        )
