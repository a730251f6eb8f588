"""Rank 0's eye on what the coordinator wants, in a thread, so that training never waits for it."""

import logging
import threading
import time

from sea_runtime.client.calls import StaleAttemptError
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.trainer.errors import FencedError
from sea_runtime.trainer.job import Job
from sea_runtime.wire.trainer import TaskKind, TrainerTask

log = logging.getLogger(__name__)
ASK_EVERY_S = 1.0
NEW_TASK_WITHIN_S = 10.0


class TaskWatch:
    """Polls `trainer_task` and keeps the newest answer."""

    def __init__(self, client: CoordinatorClient, attempt: int) -> None:
        self._client, self._attempt = client, attempt
        self._condition = threading.Condition()
        self._task: TrainerTask | None = None
        self._error: Exception | None = None
        self._asked = 0
        threading.Thread(target=self._run, name="task", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                started = time.monotonic()
                self._set(self._client.trainer_task(self._attempt), None)
            except StaleAttemptError as error:
                self._set(None, FencedError(str(error)))
                return
            except Exception as error:  # told to whoever asks: nobody would miss this thread
                self._set(None, error)
                return
            time.sleep(max(0.0, ASK_EVERY_S - (time.monotonic() - started)))

    def _set(self, task: TrainerTask | None, error: Exception | None) -> None:
        with self._condition:
            self._task = task or self._task
            self._error = error
            self._asked += 1
            self._condition.notify_all()

    def current(self) -> TrainerTask:
        """The newest answer, at once where there is one; raises what ended the polling."""
        with self._condition:
            self._condition.wait_for(lambda: self._asked > 0, NEW_TASK_WITHIN_S * 60)
            return self._answer()

    def next(self) -> TrainerTask:
        """An answer newer than this call, within some seconds."""
        with self._condition:
            before = self._asked
            self._condition.wait_for(
                lambda: self._asked > before or self._error is not None, NEW_TASK_WITHIN_S
            )
            return self._answer()

    def _answer(self) -> TrainerTask:
        if self._error is not None:
            raise self._error
        if self._task is None:
            return TrainerTask(kind=TaskKind.IDLE)
        return self._task

    def still(self, task: TrainerTask) -> bool:
        """Whether the coordinator still wants the stage of `task`."""
        now = self.current()
        return (now.kind, now.stage) == (task.kind, task.stage)


def wanted(job: Job, task: TrainerTask, watch: TaskWatch | None) -> bool:
    """Whether to go on with the stage, the same answer on every rank."""
    return bool(job.control.broadcast(watch.still(task) if watch else None))
