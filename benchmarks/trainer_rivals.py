"""The same RL step by others: plain transformers, TRL's way, a minimal loop over Megatron-core.

Each gets the model's folder and computes decoupled PPO on the same batch, with torch's fused AdamW
and gradients clipped at 1. Sequences are padded into batches of at most `capacity` tokens, sorted
by length, so that a long one is alone and unpadded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

CLIP_LOW, CLIP_HIGH, UPPER, RATE = 0.2, 0.28, 5.0, 1e-5
Array = NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """Trajectories of equal-sized groups; every array is [S]."""

    tokens: list[Array]
    masks: list[Array]
    behavior: list[Array]
    advantages: list[float]
    group_of: list[int]

    @property
    def count(self) -> int:
        return sum(len(one) for one in self.tokens)

    def coefficients(self) -> list[Array]:
        """1 / (groups * generated tokens of the group) on generated tokens."""
        groups = max(self.group_of) + 1
        made = [0] * groups
        for mask, group in zip(self.masks, self.group_of, strict=True):
            made[group] += int(mask.sum())
        pairs = zip(self.masks, self.group_of, strict=True)
        return [(mask / (groups * made[group])).astype(np.float32) for mask, group in pairs]

    def padded(self, capacity: int) -> Iterator[dict[str, Tensor]]:
        """[B, S] tensors; `length` is [B]."""
        coefficients = self.coefficients()
        order = sorted(range(len(self.tokens)), key=lambda i: -len(self.tokens[i]))
        while order:
            longest = len(self.tokens[order[0]])
            chosen, order = (
                order[: max(1, capacity // longest)],
                order[max(1, capacity // longest) :],
            )
            gains = [np.full(len(self.tokens[i]), self.advantages[i], np.float32) for i in chosen]
            yield {
                "tokens": _padded([self.tokens[i] for i in chosen], longest).long(),
                "behavior": _padded([self.behavior[i] for i in chosen], longest),
                "coefficient": _padded([coefficients[i] for i in chosen], longest),
                "advantage": _padded(gains, longest),
                "length": torch.tensor([len(self.tokens[i]) for i in chosen]),
            }


def _padded(rows: Sequence[Array], length: int) -> Tensor:
    whole = np.zeros((len(rows), length), np.float32)
    for number, values in enumerate(rows):
        whole[number, : len(values)] = values
    return torch.from_numpy(whole)


def ppo(logp_bs: Tensor, part: dict[str, Tensor]) -> Tensor:
    """`logp_bs` of tokens 1.. of each sequence, [B, S - 1]."""
    gain, coefficient = part["advantage"][:, 1:], part["coefficient"][:, 1:]
    before = logp_bs.detach()
    weight = (before - part["behavior"][:, 1:]).exp().clamp(max=UPPER)
    ratio = (logp_bs - before).exp()
    clipped = ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH)
    return -(coefficient * weight * torch.minimum(ratio * gain, clipped * gain)).sum()


class Transformers:
    """`AutoModelForCausalLM`, the logits of all tokens."""

    def __init__(self, folder: Path, capacity: int) -> None:
        from transformers import AutoModelForCausalLM

        self.capacity = capacity
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.adam = _adam(self.model)

    def step(self, batch: Batch) -> float:
        self.adam.zero_grad()
        total = 0.0
        for part in batch.padded(self.capacity):
            loss = ppo(self.logprobs(part), part)
            loss.backward()
            total += float(loss.detach())
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.adam.step()
        return total

    def logprobs(self, part: dict[str, Tensor]) -> Tensor:
        tokens = part["tokens"]
        logits = self.model(**self.inputs(part)).logits[:, :-1]
        return logits.log_softmax(-1).gather(2, tokens[:, 1:, None])[..., 0]

    def inputs(self, part: dict[str, Tensor]) -> dict[str, Any]:
        tokens, length = part["tokens"], part["length"]
        found: dict[str, Any] = {"input_ids": tokens, "use_cache": False}
        # Unpadded without a mask: attention then takes torch's causal kernel.
        if int(length.min()) < tokens.shape[1]:
            found["attention_mask"] = torch.arange(tokens.shape[1]) < length[:, None]
        return found


class LikeTRL(Transformers):
    """TRL 1.16's GRPO step: logits from the first generated token on, log p by row, entropy."""

    def logprobs(self, part: dict[str, Tensor]) -> Tensor:
        tokens, trained = part["tokens"], part["coefficient"] > 0
        first = max(1, int(trained.any(0).nonzero()[0]))
        keep = tokens.shape[1] - first
        logits = self.model(**self.inputs(part), logits_to_keep=keep + 1).logits[:, :-1]
        rows = zip(logits, tokens[:, first:], strict=True)
        picked = [row.gather(1, ids[:, None])[:, 0] - row.logsumexp(dim=-1) for row, ids in rows]
        with torch.no_grad():
            for chunk in logits.flatten(0, 1).split(128):
                logp = chunk.log_softmax(-1)
                (logp.exp() * logp).sum(-1)
        return functional.pad(torch.stack(picked), (first - 1, 0))


class MegatronLoop:
    """GPTModel with Megatron's local layers and its own loss, attention by one SDPA call."""

    def __init__(self, folder: Path, capacity: int) -> None:
        import megatron_loop

        self.capacity = capacity
        self.model: Any = megatron_loop.build(folder)
        self.adam = _adam(self.model)

    def step(self, batch: Batch) -> float:
        self.adam.zero_grad()
        total = 0.0
        for part in batch.padded(self.capacity):
            tokens = part["tokens"]
            labels = functional.pad(tokens[:, 1:], (0, 1))
            positions = torch.arange(tokens.shape[1]).expand_as(tokens)
            logp = -self.model(tokens, positions, None, labels=labels)[:, :-1]
            loss = ppo(logp, part)
            loss.backward()
            total += float(loss.detach())
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.adam.step()
        return total


def _adam(model: nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True
    )
