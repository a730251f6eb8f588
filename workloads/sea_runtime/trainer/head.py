"""The model's head: log-probabilities of given tokens, with the vocabulary split over ranks.

Called by `model.Policy` on the last stage.

Shape suffixes: t tokens, v this rank's rows of the vocabulary, h hidden.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _Sum(torch.autograd.Function):
    """All-reduce whose gradient passes through: every rank computes the same from its result."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Any) -> Tensor:
        total = values.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def token_logprobs(
    hidden_th: Tensor,
    weight_vh: Tensor,
    labels_t: Tensor,
    temperature: float,
    group: Any,
    vocabulary: int,
) -> Tensor:
    """log p(label) in FP32, [T]; 0 where the label is -1.

    Args:
        hidden_th: [T, H], the same on every rank of the group.
        weight_vh: [V / ranks, H]; rows from `vocabulary` on pad it and have no probability.
        labels_t: token ids, [T].
        temperature: of the sampling that the probabilities are about.
        group: ranks that the vocabulary is split over.
        vocabulary: V without padding.

    The gradient of `hidden_th` is what this rank's rows contribute; the caller sums it over the
    group.
    """
    start = group.rank() * weight_vh.shape[0]
    own = max(0, min(weight_vh.shape[0], vocabulary - start))
    # FP32: bf16 would lose the small differences that PPO's ratio is made of.
    logits_tv = (hidden_th @ weight_vh[:own].T).float() / temperature
    with torch.no_grad():
        top_t = logits_tv.amax(1) if own else torch.full_like(hidden_th[:, 0], -torch.inf).float()
        dist.all_reduce(top_t, dist.ReduceOp.MAX, group=group)
    logits_tv = logits_tv - top_t[:, None]
    local_t = labels_t - start
    here_t = (local_t >= 0) & (local_t < own)
    index_t = local_t.clamp(0, max(own - 1, 0))
    picked_t = (
        logits_tv.gather(1, index_t[:, None])[:, 0].masked_fill(~here_t, 0.0)
        if own
        else logits_tv.sum(1)
    )
    total_t, chosen_t = _Sum.apply(torch.stack([logits_tv.exp().sum(1), picked_t]), group)
    return (chosen_t - total_t.log()).masked_fill(labels_t < 0, 0.0)
