"""megatron-core 0.16.1 forks CUDA random states even where all dropout is 0.

Without this: "cuda rng state model-parallel-rng is not added". Weights come from a checkpoint and
dropout is 0, so no random number is drawn on a device at all.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from megatron.core.tensor_parallel import random


class NoRngTracker(random.CudaRNGStatesTracker):
    """A tracker whose states don't exist."""

    def add(self, name: str, seed: int) -> None:
        return None

    @contextlib.contextmanager
    def fork(self, name: str = "") -> Iterator[Any]:
        yield


def apply() -> None:
    random._CUDA_RNG_STATE_TRACKER = NoRngTracker()
    random._CUDA_RNG_STATE_TRACKER_INITIALIZED = True
