"""Workarounds that let megatron-core 0.16.1 run without a CUDA device or without TransformerEngine.

One file per workaround, and here what makes it necessary; `tests/runtime/trainer/
test_workarounds.py` leaves each one out and expects the failure that its docstring names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sea_runtime.trainer.megatron_workarounds import (
    alltoall_on_host,
    cuda_calls,
    pipeline_synchronize,
    rng_fork,
    rng_state,
    schedule_zeros,
    te_general_gemm,
)

VERSION = "0.16.1"


class Lack(Enum):
    """What makes a workaround necessary."""

    CUDA = "no CUDA device answers"
    TRANSFORMER_ENGINE = "TransformerEngine isn't installed"


@dataclass(frozen=True)
class Workaround:
    apply: Callable[[], None]
    lack: Lack

    def is_needed(self, *, cuda: bool, te: bool) -> bool:
        return {
            Lack.CUDA: not cuda,
            Lack.TRANSFORMER_ENGINE: not te,
        }[self.lack]


# `cuda_names` isn't here: it is a context around single calls (`trainer/device.py`).
WORKAROUNDS = {
    "cuda_calls": Workaround(cuda_calls.apply, Lack.CUDA),
    "rng_state": Workaround(rng_state.apply, Lack.CUDA),
    "rng_fork": Workaround(rng_fork.apply, Lack.CUDA),
    "schedule_zeros": Workaround(schedule_zeros.apply, Lack.CUDA),
    "pipeline_synchronize": Workaround(pipeline_synchronize.apply, Lack.CUDA),
    "alltoall_on_host": Workaround(alltoall_on_host.apply, Lack.CUDA),
    # A GPU without TransformerEngine needs it as well: otherwise MoE ends in a NameError.
    "te_general_gemm": Workaround(te_general_gemm.apply, Lack.TRANSFORMER_ENGINE),
}

__all__ = ["VERSION", "WORKAROUNDS", "Lack", "apply", "needed"]


def needed(*, cuda: bool, te: bool) -> list[str]:
    """The workarounds of a machine with or without a CUDA device and TransformerEngine."""
    return [name for name, one in WORKAROUNDS.items() if one.is_needed(cuda=cuda, te=te)]


def apply(*, cuda: bool, te: bool, without: str | None = None) -> None:
    """Applies what this machine needs to the imported library; `without` leaves one out (tests)."""
    for name in needed(cuda=cuda, te=te):
        if name != without:
            WORKAROUNDS[name].apply()
