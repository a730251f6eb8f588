"""Causes follow from exception types, and time-outs of collectives from the clock."""

import pytest
import torch
from torch.distributed import DistBackendError, DistStoreError

from sea_api.v1alpha1.policy import Cause
from sea_data.object_store import AccessDeniedError, StoreUnavailableError
from sea_runtime.client.calls import CoordinatorUnreachableError, RequestRefusedError
from sea_runtime.parallel.hf_config import ModelError
from sea_runtime.parallel.parallel_layout import LayoutError
from sea_runtime.trainer import errors

TIMED_OUT = "S3 timed out, the connection timeout was 5 s, out of memory"
"""Words that must not matter."""


@pytest.mark.parametrize("stalled", [False, True])
@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (LayoutError("3 processes can't form groups of 2."), Cause.USER_ERROR),
        (ModelError("The model folder lacks a tensor."), Cause.USER_ERROR),
        (errors.TrainingDataError("sft.jsonl:2: not JSON."), Cause.USER_ERROR),
        (errors.CheckpointError("An object is damaged."), Cause.USER_ERROR),
        (AccessDeniedError("s3://bucket/key: access denied."), Cause.USER_ERROR),
        (errors.DivergenceError("The norm is nan."), Cause.PROCESS_EXIT),
        (StoreUnavailableError(TIMED_OUT), Cause.PROCESS_EXIT),
        (CoordinatorUnreachableError(TIMED_OUT), Cause.PROCESS_EXIT),
        (RequestRefusedError("404: no such stage."), Cause.PROCESS_EXIT),
        (ValueError(TIMED_OUT), Cause.PROCESS_EXIT),
        (MemoryError(), Cause.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("x"), Cause.OUT_OF_MEMORY),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_causes(error: Exception, cause: Cause, stalled: bool) -> None:
    assert errors.cause_of(error, stalled=stalled) is cause


@pytest.mark.parametrize("error", [RuntimeError("x"), DistBackendError("x"), DistStoreError("x")])
def test_an_error_of_torch_distributed_is_a_hang_after_the_time_out_only(error: Exception) -> None:
    assert errors.cause_of(error, stalled=True) is Cause.HANG
    assert errors.cause_of(error, stalled=False) is Cause.PROCESS_EXIT
