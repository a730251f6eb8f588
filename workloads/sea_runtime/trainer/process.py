"""`python -m sea_runtime.trainer.process`: one training process, one rank of one attempt.

It imports torch and Megatron first and only then waits for its assignment (a JSON line on stdin, or
the usual RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT), so that a restart doesn't pay for the
imports. Then it asks for tasks and runs their stages until it is asked to stop. It ends with an
`ExitCode`.
"""

import faulthandler
import logging
import os
import sys
import time
from typing import TYPE_CHECKING

from sea_api import logs
from sea_api.errors import SeaError
from sea_api.v1alpha1.policy import Cause
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.context import PodSettings, RankContext
from sea_runtime.trainer.errors import FencedError, cause_of
from sea_runtime.trainer.process_protocol import (
    DEFAULT_TIMEOUT_SECONDS,
    STACKS_FILE,
    STACKS_SIGNAL,
    ExitCode,
    RankAssignment,
    ReportedFailure,
    StatusPipe,
)
from sea_runtime.trainer.task_watch import TaskWatch
from sea_runtime.wire.trainer import TaskKind, TrainerTask

if TYPE_CHECKING:
    from sea_runtime.trainer.shard_buffers import StreamBuffers

log = logging.getLogger(__name__)
# Below a collective's time-out (300 s): while rank 0 retries, the other ranks wait in a broadcast.
CLIENT_RETRY_SECONDS = 240.0
REPORTED_SECONDS = 60.0
"""How long a failed process waits to be killed by its supervisor."""


def _warm_up() -> None:
    """The slow imports, and what they need to work on this device."""
    import torch

    # torch takes all cores by default; several ranks on one machine would fight for them.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    from sea_runtime.trainer import megatron_workarounds
    from sea_runtime.trainer.device import has_cuda, has_te

    # Before `rl` and `sft`, so that they import nothing of Megatron by name that is replaced later.
    megatron_workarounds.apply(cuda=has_cuda(), te=has_te())
    from sea_runtime.trainer import rl, sft  # noqa: F401


def _assignment() -> RankAssignment | None:
    """None if the supervisor closed stdin without assigning a rank."""
    assignment = RankAssignment.from_environment()
    if assignment is not None:
        return assignment
    line = sys.stdin.readline()
    return RankAssignment.from_line(line) if line.strip() else None


def _train(assignment: RankAssignment, status: StatusPipe) -> None:
    from sea_runtime.trainer import process_groups

    pod = PodSettings.from_environment()
    client = CoordinatorClient(pod.coordinator, pod.token, retry_timeout=CLIENT_RETRY_SECONDS)
    # `joined` only after the join: the pod is reported ready by it.
    control = process_groups.join(assignment)
    status.joined(assignment.attempt)
    log.info(
        "Attempt %d: rank %d of %d joined.",
        assignment.attempt,
        assignment.rank,
        assignment.world_size,
    )
    run_tasks(RankContext(pod, assignment, control, client, ObjectStore(), status))


def run_tasks(context: RankContext) -> None:
    """Runs stages on all ranks; returns when the coordinator says stop."""
    watch = TaskWatch(context.client, context.attempt) if context.leads else None
    buffers: StreamBuffers = {}
    # Stages run one after another in one process: groups and host buffers are kept between them.
    while True:
        task = _next_task(context, watch)
        if task.kind is TaskKind.STOP:
            return
        if task.kind is not TaskKind.IDLE:
            _run_stage(context, task, watch, buffers)


def _next_task(context: RankContext, watch: TaskWatch | None) -> TrainerTask:
    """What to do now, the same on every rank."""
    context.status.alive()
    # Only rank 0 asks. The broadcast makes all ranks enter the same stage; asking each by itself,
    # two ranks could see different tasks and wait for each other.
    text = watch.next().model_dump_json() if watch else None
    return TrainerTask.model_validate_json(context.control.broadcast(text))


def _run_stage(
    context: RankContext, task: TrainerTask, watch: TaskWatch | None, buffers: "StreamBuffers"
) -> None:
    from sea_runtime.trainer import rl, sft
    from sea_runtime.trainer.stage_trainer import StageTrainer

    started = time.monotonic()
    stage = StageTrainer.open(context, task, buffers)
    seconds = time.monotonic() - started
    log.info("Stage %s begins at step %d, opened in %.1f s.", task.stage, stage.step, seconds)
    (rl.run if task.kind is TaskKind.RL else sft.run)(stage, watch)
    if watch is not None:
        watch.stage_ended(task.stage)


def failure_of(error: Exception, status: StatusPipe, timeout_s: float) -> ReportedFailure:
    """What is reported of an error that ends the process; `timeout_s` is that of collectives."""
    cause = cause_of(error, stalled=status.idle_seconds >= timeout_s)
    if isinstance(error, SeaError):
        return ReportedFailure(cause, str(error))
    text = f"{type(error).__name__}: {error}"
    if cause is Cause.HANG:
        text = f"No progress for {status.idle_seconds:.0f} s, then {text}"
    return ReportedFailure(cause, text)


def fail(error: Exception, status: StatusPipe, timeout_s: float) -> ExitCode:
    """Reports the error and waits for the supervisor to end this process."""
    failure = failure_of(error, status, timeout_s)
    log.error("Training failed (%s).", failure.cause, exc_info=error)
    # Report before the sleep and before exit: see `Supervisor._report_failure`.
    status.failed(failure)
    if status.supervised:
        # The supervisor kills this process once the coordinator knows the cause. Leaving earlier
        # would break the connections of the other ranks, and theirs might be heard first.
        time.sleep(REPORTED_SECONDS)
    return ExitCode.USER_ERROR if failure.cause is Cause.USER_ERROR else ExitCode.FAILED


def _write_stacks_when_asked() -> None:
    """faulthandler's handler runs in C: it also says where a thread hangs in a collective."""
    path = os.environ.get(STACKS_FILE)
    if path:
        # The supervisor's folder: a pod's volume is empty when its first process starts.
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        # Open for as long as the process lives: the handler can't open files.
        faulthandler.register(STACKS_SIGNAL, file=open(path, "a"), all_threads=True)  # noqa: SIM115, PTH123


def main() -> ExitCode:
    logs.configure_pod()
    logging.getLogger("megatron").setLevel(logging.WARNING)
    status = StatusPipe.from_environment()
    _write_stacks_when_asked()
    timeout_s = DEFAULT_TIMEOUT_SECONDS
    try:
        # Imports first, then the wait for the assignment: a warm process joins within a second.
        _warm_up()
        assignment = _assignment()
        if assignment is None:
            return ExitCode.STOPPED
        timeout_s = assignment.timeout_s
        status.alive()  # the wait for an assignment is no stall
        logs.bind(rank=assignment.rank, attempt=assignment.attempt)
        _train(assignment, status)
    # Before the general clause: being replaced is no failure and must not count against the job.
    except FencedError as error:
        log.info("%s", error)
        return ExitCode.FENCED
    except Exception as error:
        return fail(error, status, timeout_s)
    return ExitCode.STOPPED


if __name__ == "__main__":
    code = main()
    # os._exit skips atexit handlers and buffers, so flush by hand.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # threads of gloo, NIXL or an upload must not keep a finished process
