"""Pure functions of a step: learning rate, which dialogues it trains on, which are kept back."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

_VALIDATION_STREAM = 2**31


def sft_rate(step: int, rate: float, warmup: int) -> float:
    """Rate of 1-based `step`: linear from 0 over `warmup` steps, then constant."""
    return rate * min(1.0, step / warmup) if warmup else rate


def rl_rate(step: int, rate: float, warmup: int, steps: int, final_fraction: float) -> float:
    """As `sft_rate`, and falling linearly to `final_fraction` of the rate at the last step."""
    done = (step - 1) / max(1, steps - 1)
    return sft_rate(step, rate, warmup) * (1.0 - (1.0 - final_fraction) * done)


def sft_steps(dialogues: int, batch: int, epochs: int, max_steps: int | None) -> int:
    """Optimizer steps of a stage; at least one."""
    steps = max(1, dialogues * epochs // batch)
    return min(steps, max_steps) if max_steps else steps


def kept_back(dialogues: int, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Splits indices into (training, validation), the same for every rank and attempt."""
    order = np.random.default_rng([seed, _VALIDATION_STREAM]).permutation(dialogues)
    held = min(round(dialogues * fraction), dialogues - 1)
    return sorted(int(i) for i in order[held:]), sorted(int(i) for i in order[:held])


def sft_batch(step: int, indices: Sequence[int], batch: int, seed: int) -> list[int]:
    """Indices that 1-based `step` trains on: epochs are shuffled one after another."""
    first = (step - 1) * batch
    epochs = range(first // len(indices), (first + batch - 1) // len(indices) + 1)
    orders = [np.random.default_rng([seed, epoch]).permutation(len(indices)) for epoch in epochs]
    start = first - epochs[0] * len(indices)
    return [indices[int(i)] for i in np.concatenate(orders)[start : start + batch]]


def minibatches(groups: int, count: int) -> list[range]:
    """Cuts `groups` into `count` nearly equal runs (fewer where there are fewer groups)."""
    count = min(count, groups)
    cuts = [groups * i // count for i in range(count + 1)]
    return [range(a, b) for a, b in pairwise(cuts)]
