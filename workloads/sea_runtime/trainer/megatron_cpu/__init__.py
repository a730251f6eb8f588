"""Workarounds that let megatron-core 0.16.1 run without a CUDA device.

One file per workaround; `tests/runtime/trainer/test_workarounds.py` leaves each one out and expects
the failure that its docstring names. On a GPU none of them is imported.
"""

from sea_runtime.trainer.megatron_cpu import (
    adam_step_tensor,
    alltoall_on_host,
    checkpoint_missing_keys,
    checkpoint_results_queue,
    cuda_calls,
    pipeline_synchronize,
    rng_fork,
    rng_state,
    schedule_zeros,
    te_general_gemm,
)

VERSION = "0.16.1"

# `adam_step_tensor` isn't here: it repairs loaded values (`checkpoint/state.py`), not the library.
WORKAROUNDS = {
    "cuda_calls": cuda_calls.apply,
    "te_general_gemm": te_general_gemm.apply,
    "checkpoint_missing_keys": checkpoint_missing_keys.apply,
    "checkpoint_results_queue": checkpoint_results_queue.apply,
    "schedule_zeros": schedule_zeros.apply,
    "pipeline_synchronize": pipeline_synchronize.apply,
    "rng_fork": rng_fork.apply,
    "rng_state": rng_state.apply,
    "alltoall_on_host": alltoall_on_host.apply,
}

__all__ = ["VERSION", "WORKAROUNDS", "adam_step_tensor", "apply"]


def apply(without: str | None = None) -> None:
    """Applies all workarounds to the imported library; `without` leaves one out, for its test."""
    for name, workaround in WORKAROUNDS.items():
        if name != without:
            workaround()
