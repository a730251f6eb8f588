"""The losses: weighted next-token cross-entropy, and decoupled PPO on group-relative advantages.

Pure torch, called by `sft.py` and `rl.py` on one microbatch at a time. Coefficients are normalised
over the whole batch beforehand, so the sum of all microbatches on all ranks is the loss.

GRPO's advantage: https://arxiv.org/abs/2402.03300. Decoupled PPO (behaviour, proximal, current):
https://arxiv.org/abs/2505.24298.

Shape suffixes: b sequences, s tokens, v vocabulary, g groups, k trajectories.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sea_api.v1alpha1.stages import ImportanceMode

STD_EPSILON = 1e-6


def token_logprobs(logits_bsv: Tensor, tokens_bs: Tensor, temperature: float = 1.0) -> Tensor:
    """log p(token | tokens before it), [B, S]; 0 at the first position, which has no past."""
    scaled = logits_bsv[:, :-1].float()
    if temperature != 1.0:
        scaled = scaled / temperature
    loss = functional.cross_entropy(
        scaled.flatten(0, 1), tokens_bs[:, 1:].flatten(), reduction="none"
    )
    return functional.pad(-loss.view(tokens_bs.shape[0], -1), (1, 0))


def sft_coefficients(mask_bs: Tensor, real_bs: Tensor, observation_weight: float) -> Tensor:
    """Weight of each token before normalisation: 1 where the role wrote, less elsewhere.

    The first token of a sequence has no past and weighs 0; so does padding (`real_bs` 0).
    """
    weight = torch.where(mask_bs > 0, 1.0, observation_weight) * real_bs
    weight[:, 0] = 0.0
    return weight


def advantages(rewards_gk: Tensor) -> Tensor:
    """(R - mean) / (std + eps) within each group, population std; 0 where all rewards agree."""
    centred = rewards_gk - rewards_gk.mean(dim=1, keepdim=True)
    std = rewards_gk.std(dim=1, keepdim=True, correction=0)
    return centred / (std + STD_EPSILON)


def rl_coefficients(mask_bs: Tensor, group_b: Tensor, groups: int) -> Tensor:
    """1 / (groups * generated tokens of the token's group) on generated tokens, 0 elsewhere.

    Takes the whole batch: every group counts the same, however long its trajectories are.
    """
    mask = mask_bs.double()
    generated = torch.zeros(groups, dtype=torch.float64).index_add_(0, group_b, mask.sum(dim=1))
    share = 1.0 / (generated.clamp(min=1.0) * groups)
    return (mask * share[group_b, None]).float()


@dataclass(frozen=True)
class PpoSettings:
    clip_low: float
    clip_high: float
    mode: ImportanceMode
    upper: float


def importance_weights(
    proximal_bs: Tensor, behaviour_bs: Tensor, mode: ImportanceMode, upper: float
) -> Tensor:
    """proximal / behaviour probability, capped at `upper`, or 0 above it; carries no gradient."""
    ratio = (proximal_bs - behaviour_bs).detach().exp()
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
    current_bs: Tensor,
    proximal_bs: Tensor,
    behaviour_bs: Tensor,
    advantage_b: Tensor,
    coefficient_bs: Tensor,
    settings: PpoSettings,
) -> PpoSums:
    """-sum of coefficient * importance * min(r A, clip(r) A) with r = current / proximal."""
    generated = coefficient_bs > 0
    weight = importance_weights(proximal_bs, behaviour_bs, settings.mode, settings.upper)
    ratio = torch.where(generated, current_bs - proximal_bs, 0.0).exp()
    clipped = ratio.clamp(1.0 - settings.clip_low, 1.0 + settings.clip_high)
    advantage = advantage_b[:, None]
    gain = torch.minimum(ratio * advantage, clipped * advantage)
    weight = torch.where(generated, weight, 0.0)
    loss = -(coefficient_bs * weight * gain).sum()
    return _sums(loss, current_bs, behaviour_bs, generated, ratio, clipped, weight)


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


def agreement(current_bs: Tensor, behaviour_bs: Tensor, versions_bs: Tensor, version: int) -> float:
    """Largest |trainer - engine| log-probability on tokens that this very version generated."""
    same = versions_bs == version
    if not bool(same.any()):
        return 0.0
    return float((current_bs.detach() - behaviour_bs)[same].abs().max())
