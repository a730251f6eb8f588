"""Rank 0's watch of what the coordinator wants, in a thread: training never waits for it.

The thread also reports what fails next to training, while it does: a trainer that waits for a batch
reports no steps.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from sea_runtime.client.calls import RequestRefusedError, StaleAttemptError
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.errors import FencedError
from sea_runtime.wire.trainer import (
    BackgroundFailure,
    BackgroundFailures,
    TaskKind,
    TrainerTask,
)

log = logging.getLogger(__name__)
POLL_SECONDS = 1.0
# The client retries for 240 s by itself and then raises, so this is only a last resort.
FIRST_ANSWER_SECONDS = 600.0
# Bounds how long the other ranks wait in the broadcast while the coordinator is away.
NEXT_ANSWER_SECONDS = 10.0


class TaskWatch:
    """Polls `GET /v1/trainer/task` and keeps the newest answer."""

    def __init__(self, client: CoordinatorClient, attempt: int) -> None:
        self._client, self._attempt = client, attempt
        self._condition = threading.Condition()
        self._task: TrainerTask | None = None
        self._error: Exception | None = None
        self._answers = 0
        self._reported = False
        """The last report named failures."""
        self._failing: tuple[str, Callable[[], Sequence[BackgroundFailure]]] = ("", lambda: ())
        threading.Thread(target=self._poll, name="task watch", daemon=True).start()

    def _poll(self) -> None:
        while True:
            try:
                started = time.monotonic()
                self._report_failures()
                self._set(self._client.trainer_task(self._attempt), None)
            # A newer attempt exists: asking again can't change that.
            except StaleAttemptError as error:
                self._set(None, FencedError(str(error)))
                return
            except Exception as error:  # raised in the training loop: nobody would miss this thread
                self._set(None, error)
                return
            time.sleep(max(0.0, POLL_SECONDS - (time.monotonic() - started)))

    def failing(self, stage: str, failures: Callable[[], Sequence[BackgroundFailure]]) -> None:
        """Takes what says what fails next to training now; asked and reported in the thread.

        Not the failures themselves: a stage that waits for its last checkpoint makes no more steps.
        """
        with self._condition:
            self._failing = (stage, failures)

    def stage_ended(self, stage: str) -> None:
        """Reports that nothing of the stage fails now: the next task may be long in coming."""
        self.failing(stage, lambda: ())

    def _report_failures(self) -> None:
        with self._condition:
            stage, ask = self._failing
        failures = ask()
        # Again each second: a coordinator that restarted knows nothing of it. Once more when there
        # are none, so that the problem goes with its cause.
        if failures or self._reported:
            message = BackgroundFailures(attempt=self._attempt, failures=list(failures))
            try:
                self._client.background_failures(stage, message)
            # As by a coordinator of an older release: no report is worth the attempt.
            except RequestRefusedError as error:
                log.warning("What fails next to training isn't reported: %s", error)
            self._reported = bool(failures)

    def _set(self, task: TrainerTask | None, error: Exception | None) -> None:
        with self._condition:
            # An error keeps the last task, but `_answer` raises the error first.
            self._task = task or self._task
            self._error = error
            self._answers += 1
            self._condition.notify_all()

    def current(self) -> TrainerTask:
        """The newest answer, immediately if there is one; raises what ended the polling."""
        with self._condition:
            self._condition.wait_for(lambda: self._answers > 0, FIRST_ANSWER_SECONDS)
            return self._answer()

    def next(self) -> TrainerTask:
        """An answer newer than this call; the last one if none comes within seconds."""
        with self._condition:
            # Taken under the lock: an answer that arrives between this line and the wait counts as
            # newer.
            before = self._answers
            self._condition.wait_for(
                lambda: self._answers > before or self._error is not None, NEXT_ANSWER_SECONDS
            )
            return self._answer()

    def _answer(self) -> TrainerTask:
        if self._error is not None:
            raise self._error
        if self._task is None:
            return TrainerTask(kind=TaskKind.IDLE)
        return self._task

    def still(self, task: TrainerTask) -> TrainerTask | None:
        """The task with the spec in force now; None if its stage is no longer wanted."""
        now = self.current()
        if (now.kind, now.stage) != (task.kind, task.stage):
            return None
        # Nothing else: where the stage began does not change while it runs.
        changed = {
            "spec": now.spec,
            "spec_generation": now.spec_generation,
            "store_versions": now.store_versions,
            "ledger_epoch": now.ledger_epoch,
        }
        return task.model_copy(update=changed)


def still_wanted(
    context: RankContext, task: TrainerTask, watch: TaskWatch | None
) -> TrainerTask | None:
    """The task with the spec in force now, or None if the stage is to stop.

    Collective, the same answer on every rank.

    Args:
        watch: rank 0's; None elsewhere.
    """
    text: str | None = None
    if watch is not None and (now := watch.still(task)) is not None:
        text = "" if now == task else now.model_dump_json()
    # One answer for all: a rank that stops while another goes on would leave that one in a
    # collective, and so would one that follows another spec.
    text = context.control.broadcast(text)
    if text is None:
        return None
    return TrainerTask.model_validate_json(text) if text else task
