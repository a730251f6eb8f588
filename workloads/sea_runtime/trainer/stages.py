"""The loop of a training process: ask for a task, run its stage, until told to stop."""

import logging
import time

from sea_runtime.trainer import rl, sft
from sea_runtime.trainer.control_plane import TaskWatch
from sea_runtime.trainer.job import Job
from sea_runtime.trainer.stage import Buffers, open_stage
from sea_runtime.wire.trainer import TaskKind, TrainerTask

log = logging.getLogger(__name__)


def serve(job: Job) -> None:
    """Runs stages on all ranks; returns when the coordinator says stop."""
    watch = TaskWatch(job.client, job.attempt) if job.leads else None
    buffers: Buffers = {}
    while True:
        task = _task(job, watch)
        if task.kind is TaskKind.STOP:
            return
        if task.kind is not TaskKind.IDLE:
            _run(job, task, watch, buffers)


def _task(job: Job, watch: TaskWatch | None) -> TrainerTask:
    """What to do now, the same on every rank."""
    job.report.alive()
    text = watch.next().model_dump_json() if watch else None
    return TrainerTask.model_validate_json(job.control.broadcast(text))


def _run(job: Job, task: TrainerTask, watch: TaskWatch | None, buffers: Buffers) -> None:
    started = time.monotonic()
    stage = open_stage(job, task, buffers)
    log.info(
        "Stage %s begins at step %d, opened in %.1f s.",
        task.stage,
        stage.step,
        time.monotonic() - started,
    )
    (rl.run if task.kind is TaskKind.RL else sft.run)(stage, watch)
