"""Pure functions of a step: its learning rate, and which dialogues or groups it trains on.

All ranks and all attempts compute the same, so a resumed stage repeats what it would have done.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

_VALIDATION_STREAM = 2**31
"""Keeps the random numbers of the validation split apart from those of the epochs."""


def sft_rate(step: int, rate: float, warmup: int) -> float:
    """Learning rate of 1-based `step`: linear from 0 over `warmup` steps, then constant."""
    return rate * min(1.0, step / warmup) if warmup else rate


def rl_rate(step: int, rate: float, warmup: int, steps: int, final_fraction: float) -> float:
    """As `sft_rate`, with linear decay to `final_fraction` of the rate at the last step."""
    done = (step - 1) / max(1, steps - 1)
    return sft_rate(step, rate, warmup) * (1.0 - (1.0 - final_fraction) * done)


def sft_steps(dialogues: int, batch: int, epochs: int, max_steps: int | None) -> int:
    """Optimizer steps of a stage; at least one."""
    steps = max(1, dialogues * epochs // batch)
    return min(steps, max_steps) if max_steps else steps


def split_validation(dialogues: int, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices of (training, validation) dialogues; at least one is trained on."""
    # A list of seeds gives each stream its own random numbers: the split's aren't an epoch's.
    order = np.random.default_rng([seed, _VALIDATION_STREAM]).permutation(dialogues)
    held_out = min(round(dialogues * fraction), dialogues - 1)
    return sorted(int(i) for i in order[held_out:]), sorted(int(i) for i in order[:held_out])


def sft_batch(step: int, indices: Sequence[int], batch: int, seed: int) -> list[int]:
    """Indices that 1-based `step` trains on: epochs end to end, each shuffled by itself."""
    # Position in the endless stream of epochs; a batch may span two of them or more.
    first = (step - 1) * batch
    epochs = range(first // len(indices), (first + batch - 1) // len(indices) + 1)
    orders = [np.random.default_rng([seed, epoch]).permutation(len(indices)) for epoch in epochs]
    start = first - epochs[0] * len(indices)
    return [indices[int(i)] for i in np.concatenate(orders)[start : start + batch]]


def minibatches(groups: int, count: int) -> list[range]:
    """Splits `groups` into `count` nearly equal runs, or fewer if there are fewer groups."""
    count = min(count, groups)
    starts = [groups * i // count for i in range(count + 1)]
    return [range(a, b) for a, b in pairwise(starts)]
