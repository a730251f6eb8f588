"""The losses: weighted next-token cross-entropy, and decoupled PPO on group-relative advantages.

Pure torch, called by `sft.py` and `rl.py` on one microbatch at a time. Coefficients are normalised
over the whole batch beforehand, so the sum of all microbatches on all ranks is the loss.

GRPO's advantage: https://arxiv.org/abs/2402.03300. Decoupled PPO (behaviour, proximal, current):
https://arxiv.org/abs/2505.24298.

Shape suffixes: t tokens of a packed row, s of one sequence, v vocabulary, g groups, k trajectories.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sea_api.v1alpha1.stages import ImportanceMode

Array = NDArray[Any]
STD_EPSILON = 1e-6


def token_logprobs(
    logits_tv: Tensor, tokens_t: Tensor, first_t: Tensor, temperature: float = 1.0
) -> Tensor:
    """log p(token | tokens before it in its sequence), [T]; 0 where `first_t`: no past."""
    scaled = logits_tv[:-1].float()
    if temperature != 1.0:
        scaled = scaled / temperature
    loss = functional.cross_entropy(scaled, tokens_t[1:], reduction="none")
    return functional.pad(-loss, (1, 0)).masked_fill(first_t, 0.0)


def sft_weights(masks: Sequence[Array], observation_weight: float) -> list[Array]:
    """Weight of each token of each sequence [S]: 1 where the role wrote, less elsewhere.

    All together sum up to 1. The first token of a sequence has no past and weighs 0.
    """
    weights = [np.where(mask > 0, 1.0, observation_weight) for mask in masks]
    for weight in weights:
        weight[:1] = 0.0
    total = max(sum(float(weight.sum()) for weight in weights), 1e-9)
    return [(weight / total).astype(np.float32) for weight in weights]


def advantages(rewards_gk: Tensor) -> Tensor:
    """(R - mean) / (std + eps) within each group, population std; 0 where all rewards agree."""
    centred = rewards_gk - rewards_gk.mean(dim=1, keepdim=True)
    std = rewards_gk.std(dim=1, keepdim=True, correction=0)
    return centred / (std + STD_EPSILON)


def rl_coefficients(masks: Sequence[Array], group_of: Sequence[int]) -> list[Array]:
    """1 / (groups * generated tokens of the token's group) on generated tokens, 0 elsewhere.

    Takes all sequences [S] of a minibatch: every group counts the same, however long its
    trajectories are.
    """
    generated: Counter[int] = Counter()
    for mask, group in zip(masks, group_of, strict=True):
        generated[group] += int((mask > 0).sum())
    shares = {g: 1.0 / (max(count, 1) * len(generated)) for g, count in generated.items()}
    return [
        ((mask > 0) * shares[group]).astype(np.float32)
        for mask, group in zip(masks, group_of, strict=True)
    ]


@dataclass(frozen=True)
class PpoSettings:
    clip_low: float
    clip_high: float
    mode: ImportanceMode
    upper: float


def importance_weights(
    proximal_t: Tensor, behaviour_t: Tensor, mode: ImportanceMode, upper: float
) -> Tensor:
    """proximal / behaviour probability, capped at `upper`, or 0 above it; carries no gradient."""
    ratio = (proximal_t - behaviour_t).detach().exp()
    if mode is ImportanceMode.CAP:
        return ratio.clamp(max=upper)
    return torch.where(ratio <= upper, ratio, torch.zeros_like(ratio))


@dataclass(frozen=True)
class PpoSums:
    """Sums over the generated tokens of a microbatch, for the step's metrics."""

    loss: Tensor
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
    behaviour_t: Tensor,
    advantage_t: Tensor,
    coefficient_t: Tensor,
    settings: PpoSettings,
) -> PpoSums:
    """-sum of coefficient * importance * min(r A, clip(r) A) with r = current / proximal."""
    generated = coefficient_t > 0
    weight = importance_weights(proximal_t, behaviour_t, settings.mode, settings.upper)
    ratio = torch.where(generated, current_t - proximal_t, 0.0).exp()
    clipped = ratio.clamp(1.0 - settings.clip_low, 1.0 + settings.clip_high)
    gain = torch.minimum(ratio * advantage_t, clipped * advantage_t)
    weight = torch.where(generated, weight, 0.0)
    loss = -(coefficient_t * weight * gain).sum()
    return _sums(loss, current_t, behaviour_t, generated, ratio, clipped, weight)


@torch.no_grad()
def _sums(
    loss: Tensor,
    current: Tensor,
    behaviour: Tensor,
    generated: Tensor,
    ratio: Tensor,
    clipped: Tensor,
    weight: Tensor,
) -> PpoSums:
    moved = (current - behaviour)[generated]
    return PpoSums(
        loss=loss,
        tokens=float(generated.sum()),
        kl=float((moved.exp() - 1.0 - moved).sum()),
        entropy=float(-current[generated].sum()),
        clipped=float((ratio != clipped)[generated].sum()),
        importance=float(weight.sum()),
        importance_max=float(weight.max()) if weight.numel() else 0.0,
    )


def agreement(current_t: Tensor, behaviour_t: Tensor, versions_t: Tensor, version: int) -> float:
    """Largest |trainer - engine| log-probability on tokens that this very version generated."""
    same = versions_t == version
    if not bool(same.any()):
        return 0.0
    return float((current_t.detach() - behaviour_t)[same].abs().max())
