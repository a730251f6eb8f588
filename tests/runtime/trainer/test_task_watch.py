"""Rank 0's watch of the coordinator never ends unnoticed."""

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from sea_runtime.client.calls import RequestRefusedError
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.trainer import task_watch
from sea_runtime.trainer.task_watch import TaskWatch
from sea_runtime.wire.trainer import (
    BackgroundFailure,
    BackgroundFailures,
    BackgroundWork,
    TaskKind,
    TrainerTask,
)
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.waiting import HANG_S, wait_for


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


def test_what_fails_next_to_training_is_reported_until_nothing_does(
    coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again, since a coordinator that restarts forgets it; then once that it has ended.

    Not by the training thread, which may wait for a batch for long.
    """
    monkeypatch.setattr(task_watch, "POLL_SECONDS", 0.0)
    watch = TaskWatch(CoordinatorClient(coordinator.url, "token", retry_timeout=HANG_S), 1)
    failure = BackgroundFailure(work=BackgroundWork.CHECKPOINT, message="No room.")
    # Asked each time: a stage that waits for its last checkpoint doesn't come by again.
    found: list[BackgroundFailure] = []
    watch.failing("rl", lambda: list(found))
    found.append(failure)
    wait_for("two reports", lambda: len(coordinator.failures) > 1)
    # Not for as long as the next task is waited for.
    watch.stage_ended("rl")
    wait_for("the end", lambda: not coordinator.failures[-1].failures)
    asked, reported = coordinator.asked, len(coordinator.failures)
    wait_for("more looks", lambda: coordinator.asked > asked + 2)
    assert len(coordinator.failures) == reported
    assert {tuple(one.failures) for one in coordinator.failures} == {(failure,), ()}


def test_a_refused_report_of_failures_costs_no_attempt(
    coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a coordinator of an older release, which doesn't have the call."""
    monkeypatch.setattr(task_watch, "POLL_SECONDS", 0.0)
    client = CoordinatorClient(coordinator.url, "token", retry_timeout=HANG_S)
    refused: list[BackgroundFailures] = []

    def refuse(stage: str, message: BackgroundFailures) -> None:
        refused.append(message)
        raise RequestRefusedError(f"POST /v1/stages/{stage}/failures was refused with 404")

    monkeypatch.setattr(client, "background_failures", refuse)
    watch = TaskWatch(client, 1)
    failure = BackgroundFailure(work=BackgroundWork.EXPORT, message="No room.")
    watch.failing("rl", lambda: [failure])
    wait_for("two reports", lambda: len(refused) > 1)
    assert watch.next().kind is coordinator.task.kind
