"""megatron-core 0.16.1 forks the CUDA generator around dropout under sequence parallelism.

There is none on a CPU: "cuda rng state model-parallel-rng is not added". No dropout is used, so
there is no state to fork.
"""

import contextlib
from typing import Any

from megatron.core.tensor_parallel.random import CudaRNGStatesTracker


def _no_fork(*_: Any) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def apply() -> None:
    CudaRNGStatesTracker.fork = _no_fork
