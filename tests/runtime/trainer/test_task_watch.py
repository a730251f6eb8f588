"""Rank 0's watch of the coordinator never ends unnoticed."""

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.trainer.task_watch import TaskWatch
from sea_runtime.wire.trainer import TaskKind, TrainerTask
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.waiting import HANG_S


def test_an_answer_that_cannot_be_read_ends_the_attempt(coordinator: FakeCoordinator) -> None:
    """From a coordinator of another release; otherwise the trainer would miss a drain."""
    unknown: Any = SimpleNamespace(model_dump_json=lambda: '{"kind": "Unknown"}')
    coordinator.task = unknown
    watch = TaskWatch(CoordinatorClient(coordinator.url, "token", retry_timeout=HANG_S), 1)
    with pytest.raises(ValidationError):  # waits for the first answer; `next` gives up earlier
        watch.current()
    with pytest.raises(ValidationError):
        watch.next()


def test_what_may_change_while_a_stage_runs_is_followed(coordinator: FakeCoordinator) -> None:
    """An engine that can't read from the trainer shows while the stage runs, not before."""
    task = TrainerTask(kind=TaskKind.RL, stage="rl", first_version=3)
    update = {"store_versions": True, "ledger_epoch": "e", "spec_generation": 2}
    coordinator.task = task.model_copy(update={**update, "first_version": 9})
    watch = TaskWatch(CoordinatorClient(coordinator.url, "token", retry_timeout=HANG_S), 1)
    assert watch.still(task) == task.model_copy(update=update)
