"""Rank 0's watch of the coordinator never falls asleep unnoticed."""

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.trainer.task_watch import TaskWatch
from sea_testing.waiting import HANG_S


def test_an_answer_that_cannot_be_read_ends_the_attempt(coordinator: Any) -> None:
    """Of a coordinator of another release; else the trainer would never hear of a drain."""
    coordinator.task = SimpleNamespace(model_dump_json=lambda: '{"kind": "Unheard"}')
    watch = TaskWatch(CoordinatorClient(coordinator.url, "token", retry_timeout=HANG_S), 1)
    with pytest.raises(ValidationError):
        watch.next()
    with pytest.raises(ValidationError):
        watch.current()
