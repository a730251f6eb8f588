"""The losses: weighted next-token cross-entropy, and decoupled PPO on group-relative advantages.

Pure, called by `sft.py` and `rl.py` on one microbatch at a time. Coefficients are normalized over
the whole batch beforehand, so the sum over all microbatches on all ranks is the loss.

Advantage: GRPO, https://arxiv.org/abs/2402.03300. Decoupled PPO (behavior, proximal and current
policy): AReaL, https://arxiv.org/abs/2505.24298. There is no KL penalty; `kl` is only measured.

Shape suffixes: t tokens of a packed row, s tokens of one sequence, g groups, k
trajectories of a group. Log-probabilities are natural; probabilities of the sampled tokens only.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sea_api.v1alpha1.stages import ImportanceMode

Array = NDArray[Any]
STD_EPSILON = 1e-6


def sft_weights(masks: Sequence[Array], observation_weight: float) -> list[Array]:
    """Loss weight of each token of each sequence, [S] each; all of them sum to 1.

    Tokens that the trained role wrote (mask 1) weigh 1 before normalization, others
    `observation_weight`; the first token of a sequence has no past and weighs 0.
    """
    weights = [np.where(mask > 0, 1.0, observation_weight) for mask in masks]
    for weight in weights:
        weight[:1] = 0.0
    # A floor: a batch without any weighted token gives weights of 0 rather than NaN.
    total = max(sum(float(weight.sum()) for weight in weights), 1e-9)
    return [(weight / total).astype(np.float32) for weight in weights]


def advantages(rewards_gk: Tensor) -> Tensor:
    """GRPO: (R - mean) / (std + eps) within each group, [G, K]; 0 if all rewards are equal.

    With the population's standard deviation (no Bessel correction).
    """
    centered = rewards_gk - rewards_gk.mean(dim=1, keepdim=True)
    std = rewards_gk.std(dim=1, keepdim=True, correction=0)
    return centered / (std + STD_EPSILON)


def rl_coefficients(masks: Sequence[Array], group_of: Sequence[int]) -> list[Array]:
    """Loss coefficient of each token of each sequence, [S] each.

    1 / (groups * generated tokens of the token's group) on generated tokens, 0 elsewhere: every
    group counts the same, however long its trajectories are.

    Args:
        masks: 1 on generated tokens, [S] each; all sequences of a minibatch.
        group_of: group of each sequence.
    """
    # Per group over all its trajectories, so that long ones don't weigh less per token.
    generated: Counter[int] = Counter()
    for mask, group in zip(masks, group_of, strict=True):
        generated[group] += int((mask > 0).sum())
    shares = {g: 1.0 / (max(count, 1) * len(generated)) for g, count in generated.items()}
    return [
        ((mask > 0) * shares[group]).astype(np.float32)
        for mask, group in zip(masks, group_of, strict=True)
    ]


@dataclass(frozen=True)
class PPOSettings:
    clip_low: float
    clip_high: float
    """The ratio current / proximal is clipped to [1 - clip_low, 1 + clip_high]."""
    mode: ImportanceMode
    upper: float
    """Bound of the importance weight proximal / behavior."""


def importance_weights(
    proximal_t: Tensor, behavior_t: Tensor, mode: ImportanceMode, upper: float
) -> Tensor:
    """proximal / behavior probability, [T], capped at `upper` or 0 above it; without gradient.

    AReaL's off-policy correction: behavior is the engine's policy when the token was sampled,
    proximal the trainer's before the step.
    """
    # Detached: the weight corrects the sampling and must not be trained through.
    ratio = (proximal_t - behavior_t).detach().exp()
    if mode is ImportanceMode.CAP:
        return ratio.clamp(max=upper)
    return torch.where(ratio <= upper, ratio, torch.zeros_like(ratio))


@dataclass(frozen=True)
class PPOSums:
    """Sums over the generated tokens of a microbatch, for the step's metrics."""

    loss: Tensor
    """Scalar, with gradient."""
    tokens: float
    kl: float
    entropy: float
    clipped: float
    importance: float
    importance_max: float

    def additive(self) -> list[float]:
        return [
            float(self.loss.detach()),
            self.tokens,
            self.kl,
            self.entropy,
            self.clipped,
            self.importance,
        ]


def ppo(
    current_t: Tensor,
    proximal_t: Tensor,
    behavior_t: Tensor,
    advantage_t: Tensor,
    coefficient_t: Tensor,
    entropy_t: Tensor,
    settings: PPOSettings,
) -> PPOSums:
    """Decoupled PPO: -sum of coefficient * importance * min(r A, clip(r) A).

    r = current / proximal, importance = proximal / behavior, bounded.

    All arguments are [T]; the first three are log-probabilities, of which `current_t` carries the
    gradient. Tokens with a coefficient of 0 were not generated and are left out. `entropy_t` is of
    the current policy at each token, and only measured.
    """
    generated_t = coefficient_t > 0
    weight_t = importance_weights(proximal_t, behavior_t, settings.mode, settings.upper)
    # Masked before exp(): an infinity on a token that was not generated would make its gradient NaN
    # although its coefficient is 0.
    ratio_t = torch.where(generated_t, current_t - proximal_t, 0.0).exp()
    clipped_t = ratio_t.clamp(1.0 - settings.clip_low, 1.0 + settings.clip_high)
    # PPO's pessimistic bound: clipping limits gains, never losses.
    gain_t = torch.minimum(ratio_t * advantage_t, clipped_t * advantage_t)
    weight_t = torch.where(generated_t, weight_t, 0.0)
    loss = -(coefficient_t * weight_t * gain_t).sum()
    return _sums(loss, current_t, behavior_t, generated_t, ratio_t, clipped_t, weight_t, entropy_t)


@torch.no_grad()
def _sums(
    loss: Tensor,
    current_t: Tensor,
    behavior_t: Tensor,
    generated_t: Tensor,
    ratio_t: Tensor,
    clipped_t: Tensor,
    weight_t: Tensor,
    entropy_t: Tensor,
) -> PPOSums:
    moved = (current_t - behavior_t)[generated_t]
    return PPOSums(
        loss=loss,
        tokens=float(generated_t.sum()),
        # The estimator k3 of KL(behavior, current): exp(x) - 1 - x, never negative.
        kl=float((moved.exp() - 1.0 - moved).sum()),
        entropy=float(entropy_t[generated_t].sum()),
        clipped=float((ratio_t != clipped_t)[generated_t].sum()),
        importance=float(weight_t.sum()),
        importance_max=float(weight_t.max()) if weight_t.numel() else 0.0,
    )


def agreement(current_t: Tensor, behavior_t: Tensor, versions_t: Tensor, version: int) -> float:
    """Largest |trainer - engine| log-probability on tokens that `version` itself generated.

    In nats; 0 if it generated none. The tensors are [T]; `versions_t` is -1 on other tokens.
    """
    # Only tokens of this very version: for older ones a difference is staleness, not an error.
    same = versions_t == version
    if not bool(same.any()):
        return 0.0
    return float((current_t.detach() - behavior_t)[same].abs().max())
