"""The running stage, looked at every second: started, its leases checked, ended, reported."""

import logging
from collections.abc import Callable

from sea_api.v1alpha1.stages import Stage, StageType
from sea_api.wire.state import Problem, StagePhase
from sea_runtime.coordinator import evaluation, zero_advantage
from sea_runtime.coordinator.background import Notifiers
from sea_runtime.coordinator.drain import CommitRecovery, Drain
from sea_runtime.coordinator.errors import LedgerUnavailableError
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import episodes, stages
from sea_runtime.coordinator.ledger.database import Database, Ledger
from sea_runtime.coordinator.preconditions import Preconditions
from sea_runtime.coordinator.problems import Problems, Source, episodes_fail
from sea_runtime.coordinator.rendezvous import Rendezvous
from sea_runtime.coordinator.reports import Reports
from sea_runtime.coordinator.scheduler import Scheduler
from sea_runtime.coordinator.training import Training

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
IN_A_ROW = 16
"""Episodes without a verdict that are a problem."""
PROBE, PROBE_BYTES = "room", 1 << 20
"""A document of the size of a large trajectory: if it fits, calls fit too."""
RETRY_SECONDS = 30.0
"""Least time between two rounds of an evaluation in which nothing could be judged."""


class StageController:
    """Moves stages from Pending over Running to Complete; the operator chooses which one is next.

    Args:
        wall: unix seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        scheduler: Scheduler,
        training: Training,
        rendezvous: Rendezvous,
        preconditions: Preconditions,
        reports: Reports,
        commit_recovery: CommitRecovery,
        drain: Drain,
        problems: Problems,
        notifiers: Notifiers,
        wall: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._job, self._ledger, self._scheduler = job, ledger, scheduler
        self._training, self._rendezvous = training, rendezvous
        self._preconditions, self._reports = preconditions, reports
        self._commit_recovery, self._drain = commit_recovery, drain
        self._problems, self._notifiers = problems, notifiers
        self._wall, self._clock = wall, clock
        self._retried_at = 0.0

    async def look(self) -> None:
        """One pass."""
        if self._job.known is not None:
            # First: a step below that can't write ends the pass, and nobody would look.
            probe_room(self._ledger.db, self._problems)
            self._start_stage()
            # Every second, since a worker that is gone sends nothing that could trigger it.
            self._scheduler.expire()
            self.find_problems()
            self._close_evaluation()
            await self._finish_stage()
            # A commit that was not reported must be known before the drained ledger is saved.
            await self._commit_recovery.look()
            await self._drain.save()
        await self._notifiers.background.wait(TICK_SECONDS)

    def find_problems(self) -> None:
        """Reports what is wrong with the attempt, with what it does next to training, and with the
        running stage's episodes."""
        self._problems.report(Source.TRAINER, self._rendezvous.user_error)
        self._problems.report(Source.BACKGROUND, self._training.background_failure)
        self._problems.report(Source.EPISODES, self._episodes_problem())

    def _episodes_problem(self) -> Problem | None:
        """The running stage's newest episodes had no verdict, or nothing to learn from."""
        stage, db = self._job.running_stage, self._ledger.db
        if stage is None:
            return None
        found = without_verdict(db, stage.name)
        if found is None and stage.type == StageType.RL:
            found = zero_advantage.look(db, stage)
        return found

    def _start_stage(self) -> None:
        stage, db = self._job.stage, self._ledger.db
        if stage is None or not self._preconditions.are_met(stage):
            return
        with db.transaction(durable=True):
            # With the evaluation's episodes, in one transaction: a kill in between would leave a
            # running stage without episodes, which never ends.
            if not stages.start(db, stage.name, self._wall()):
                return
            if stage.type == StageType.EVALUATION:
                evaluation.issue(db, stage, self._preconditions.rows(stage) or [])
        log.info("stage '%s' (%s) runs", stage.name, stage.type)
        self._notifiers.notify_all()

    def _close_evaluation(self) -> None:
        stage, db = self._job.running_stage, self._ledger.db
        if stage is None or stage.type != StageType.EVALUATION:
            return
        ended, planned = evaluation.progress(db, stage.name)
        if planned == 0 or ended < planned:
            return
        found = evaluation.results(stage.name, stages.evaluated(db, stage.name))
        if not found:
            self._retry_evaluation(db, stage)
            return
        # Results and end together: the reports are made from a stage that has both.
        with db.transaction(durable=True):
            evaluation.keep(db, stage.name, found)
            stages.finish(db, stage.name, self._wall())
        self._notifiers.notify_all()

    def _retry_evaluation(self, db: Database, stage: Stage) -> None:
        """An evaluation without a single verdict starts over, at most every `RETRY_SECONDS`."""
        if self._clock() - self._retried_at < RETRY_SECONDS:
            return
        self._retried_at = self._clock()
        with db.transaction():
            count = episodes.retry_failed(db, stage.name)
        log.error("stage '%s': no episode could be judged; %d are tried again", stage.name, count)
        self._notifiers.leases.notify()

    async def _finish_stage(self) -> None:
        """Running but ended: reports first, then Complete, after which the operator may go on."""
        stage, db = self._job.stage, self._ledger.db
        if stage is None or stages.phase(db, stage.name) != StagePhase.RUNNING:
            return
        if stages.finished_at(db, stage.name) is None:
            return
        # Before Complete, which lets the operator send the next stage or let the pods go.
        await self._reports.write(stage)
        # Asked for again: the ledger may have been withdrawn during the upload.
        stages.complete(self._ledger.db, stage.name, self._wall())
        log.info("stage '%s' is complete", stage.name)
        self._notifiers.notify_all()


def without_verdict(db: Database, stage: str) -> Problem | None:
    """None while any of the last `IN_A_ROW` attempts was judged, or there were fewer."""
    failed, error = episodes.unjudged_in_a_row(db, stage)
    return episodes_fail(stage, failed, error) if failed >= IN_A_ROW else None


def probe_room(db: Database, problems: Problems) -> None:
    """Clears the problem of a full volume once a write of some size succeeds.

    Calls that fail on it are answered with 503 (`http.py`), which reports the problem; most calls
    that would show the end of it are rare or only read.
    """
    # No probe while all is well: it costs an fsync and a megabyte of log.
    if not problems.is_failing(Source.CALLS):
        return
    try:
        with db.transaction(durable=True):
            # Committed, not rolled back: SQLite writes the log at the commit, and
            # only then is the room needed.
            db.put_text(PROBE, "x" * PROBE_BYTES)
        with db.transaction(durable=True):
            # A kill before this leaves one document, which the next probe replaces.
            db.delete_text(PROBE)
    except LedgerUnavailableError as error:
        problems.failed(Source.CALLS, error)
    else:
        problems.passed(Source.CALLS)
        log.info("the ledger can be written again")
