"""The supervisor against a small coordinator, with stand-ins for its processes."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sea_api.v1alpha1.policy import Cause
from sea_runtime.parallel.parallel_layout import LayoutError
from sea_runtime.trainer import process, supervisor
from sea_runtime.trainer.context import PodSettings
from sea_runtime.trainer.process_handle import ProcessHandle
from sea_runtime.trainer.process_protocol import (
    ExitCode,
    RankAssignment,
    ReportedFailure,
    StatusPipe,
)
from sea_runtime.trainer.supervisor import Supervisor
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply, PodState, TrainerWorld
from sea_testing.fake_coordinator import FakeCoordinator
from sea_testing.waiting import wait_for

POD = "job-trainer-0"
WORLD = TrainerWorld(
    attempt=1, pods=[POD], processes_per_pod=1, master_address="127.0.0.1", master_port=1
)


class StandIn:
    """What a `ProcessHandle` shows of a process, set by the test."""

    def __init__(self) -> None:
        self.joined = 0
        self.reported: ReportedFailure | None = None
        self.exit_code: int | None = None
        self.last_line = ""
        self.last_heard = time.monotonic()
        self.longest_silence, self.signs = 0.0, 0
        self.killed = False
        self.asked_for_stacks = 0

    async def stacks(self) -> str:
        assert not self.killed
        self.asked_for_stacks += 1
        return "Thread 1: in all_reduce"

    async def assign(self, assignment: RankAssignment) -> None:
        self.joined = assignment.attempt

    async def kill(self) -> None:
        self.killed = True


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[StandIn]:
    """The processes that the supervisor has started."""
    found: list[StandIn] = []

    async def start(_: object, stacks: Path) -> StandIn:
        found.append(StandIn())
        return found[-1]

    monkeypatch.setattr(ProcessHandle, "start", start)
    monkeypatch.setattr(supervisor, "RESTART_PAUSE_SECONDS", 0.0)
    return found


@pytest.fixture
async def running(
    coordinator: FakeCoordinator, started: list[StandIn], tmp_path: Path
) -> AsyncIterator[StandIn]:
    """The process of a supervisor whose pod has joined attempt 1."""
    coordinator.reply = HeartbeatReply(run=True, world=WORLD)
    pod = Supervisor(PodSettings(POD, "127.0.0.1", coordinator.url, "token", tmp_path, 1))
    task = asyncio.create_task(pod.run())
    await until("ready", lambda: pod.ready)
    yield started[0]
    pod.stop()
    await task


async def until(what: str, condition: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_for, what, condition)


async def test_a_process_is_killed_only_once_its_failure_is_known(
    coordinator: FakeCoordinator, running: StandIn
) -> None:
    """Its end breaks the connections of its peers, whose failure must not be known first."""
    killed: list[bool] = []

    async def look(beat: Heartbeat) -> None:
        if beat.state is PodState.FAILED:
            killed.append(running.killed)

    coordinator.before_heartbeat = look
    running.reported = ReportedFailure(Cause.USER_ERROR, "No access.")
    await until("the end of the process", lambda: running.killed)
    assert not killed[0]
    failure = next(one for one in coordinator.heartbeats if one.state is PodState.FAILED)
    assert (failure.attempt, failure.cause, failure.detail) == (1, Cause.USER_ERROR, "No access.")


async def test_stacks_are_kept_before_a_failed_process_is_killed(
    coordinator: FakeCoordinator, running: StandIn
) -> None:
    running.reported = ReportedFailure(Cause.HANG, "No progress.")
    await until("the end of the process", lambda: running.killed)
    assert running.asked_for_stacks == 1
    text = coordinator.logs[f"/v1/logs/{POD}/stacks"]
    assert b"all_reduce" in text


async def test_stacks_of_ranks_that_wait_for_one_that_hangs_are_kept_too(
    coordinator: FakeCoordinator, running: StandIn
) -> None:
    coordinator.reply = HeartbeatReply(keep_stacks=1)
    await until("the end of the process", lambda: running.killed)
    assert b"all_reduce" in coordinator.logs[f"/v1/logs/{POD}/stacks"]


async def test_a_withdrawn_attempt_costs_no_look_at_stacks(
    coordinator: FakeCoordinator, running: StandIn
) -> None:
    coordinator.reply = HeartbeatReply()
    await until("the end of the process", lambda: running.killed)
    assert running.asked_for_stacks == 0


async def test_a_mistake_of_the_user_is_not_restarted_before_the_next_attempt(
    coordinator: FakeCoordinator, running: StandIn, started: list[StandIn]
) -> None:
    running.exit_code = ExitCode.USER_ERROR
    await until("the failure", lambda: coordinator.heartbeats[-1].state is PodState.FAILED)
    seen = len(coordinator.heartbeats)
    await until("more heartbeats", lambda: len(coordinator.heartbeats) > seen + 2)
    assert started == [running]
    coordinator.reply = HeartbeatReply(run=True, world=WORLD.model_copy(update={"attempt": 2}))
    await until("the next attempt", lambda: len(started) == 2 and started[1].joined == 2)


async def test_a_pod_that_leaves_lets_its_attempt_commit_and_ends_then(
    coordinator: FakeCoordinator, started: list[StandIn], tmp_path: Path
) -> None:
    coordinator.reply = HeartbeatReply(run=True, world=WORLD)
    settings = PodSettings(POD, "127.0.0.1", coordinator.url, "token", tmp_path, 1, grace_s=600.0)
    pod = Supervisor(settings)
    task = asyncio.create_task(pod.run())
    await until("ready", lambda: pod.ready)
    pod.stop()
    await until("the news", lambda: coordinator.heartbeats[-1].leaving)
    assert not task.done()
    assert not started[0].killed
    started[0].exit_code = ExitCode.STOPPED
    await task


@pytest.mark.parametrize("grace", [0.0, 600.0])
async def test_a_pod_that_leaves_waits_for_nothing_that_will_not_be(
    coordinator: FakeCoordinator, started: list[StandIn], tmp_path: Path, grace: float
) -> None:
    """Without time, or where the coordinator wants nothing of the attempt any more."""
    coordinator.reply = HeartbeatReply(run=True, world=WORLD)
    settings = PodSettings(POD, "127.0.0.1", coordinator.url, "token", tmp_path, 1, grace_s=grace)
    pod = Supervisor(settings)
    task = asyncio.create_task(pod.run())
    await until("ready", lambda: pod.ready)
    if grace:
        coordinator.reply = HeartbeatReply()
    pod.stop()
    await task
    assert started[0].killed


def test_a_supervised_process_waits_for_its_end_after_it_has_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    read, write = os.pipe()
    code = process.fail(LayoutError("Choose another size."), StatusPipe(write), 60.0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read().startswith(
            '{"event": "failed", "cause": "UserError", "message": "Choose'
        )
    assert code is ExitCode.USER_ERROR
    assert slept == [process.REPORTED_SECONDS]
    assert process.fail(ValueError("x"), StatusPipe(), 60.0) is ExitCode.FAILED
    assert slept == [process.REPORTED_SECONDS], "without a supervisor nobody ends it"


def test_a_failure_of_a_thousand_names_fits_into_one_line_of_the_pipe() -> None:
    """The supervisor reads lines of at most 64 KiB: a longer one would be lost with its cause."""
    read, write = os.pipe()
    StatusPipe(write).failed(ReportedFailure(Cause.USER_ERROR, "missing tensor\n" * 100_000))
    os.close(write)
    with os.fdopen(read) as pipe:
        assert len(pipe.read()) < 64 * 1024
