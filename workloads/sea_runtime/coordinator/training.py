"""Rank 0's calls: what to train, which batch comes next, what it reports."""

import logging
from collections.abc import Callable, Sequence
from typing import Literal

from sea_api.contract import pod_name
from sea_api.v1alpha1.policy import Cause, Role
from sea_api.v1alpha1.stages import StageType
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import Problem, Severity
from sea_runtime.coordinator import base_model, stage_plan
from sea_runtime.coordinator.background import Notifiers
from sea_runtime.coordinator.edits import Edits
from sea_runtime.coordinator.errors import StaleError
from sea_runtime.coordinator.job import Job, stored
from sea_runtime.coordinator.ledger import batches, lineage, progress, stages
from sea_runtime.coordinator.ledger.database import EPOCH, Ledger
from sea_runtime.coordinator.ledger.fixed_batch import FixedBatch
from sea_runtime.coordinator.preconditions import Preconditions
from sea_runtime.coordinator.rendezvous import Rendezvous
from sea_runtime.coordinator.throughput import Pace, Rate
from sea_runtime.wire.trainer import (
    BackgroundFailure,
    BackgroundFailures,
    BackgroundWork,
    CheckpointCommitted,
    Origin,
    StageDone,
    StageProgress,
    TaskKind,
    TrainerTask,
)

log = logging.getLogger(__name__)

SERVED = "served"
"""Name of the ledger's document: the spec that rank 0 was given last."""
REPORT_SECONDS = 30.0
"""How long a failure next to training counts after its report: the trainer repeats it every
second, and one that has ended must not leave it behind."""
_REASONS = {
    BackgroundWork.CHECKPOINT: "CheckpointsFail",
    BackgroundWork.WEIGHTS: "WeightCopiesFail",
    BackgroundWork.EXPORT: "ExportsFail",
}
"""Most important first: the reason of several failures is the first one's."""


def background_problem(stage: str, failures: Sequence[BackgroundFailure]) -> Problem | None:
    """What fails next to training, as one problem; None if nothing does. Pure."""
    by_work = {one.work: one for one in failures}
    found = [by_work[work] for work in _REASONS if work in by_work]
    if not found:
        return None
    return Problem(
        reason=_REASONS[found[0].work],
        message=f"Stage '{stage}': {' '.join(one.message for one in found)}",
        severity=Severity.WARNING,
    )


class AheadError(Exception):
    """The trainer asks for a step whose predecessor the ledger doesn't know."""

    def __init__(self, fixed: int) -> None:
        super().__init__(fixed)
        self.fixed = fixed
        """The last step whose batch the ledger knows."""


class Training:
    """Tasks and batches out, progress and checkpoints in.

    Raises (all methods): StaleError for a caller of another attempt.
    """

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        rendezvous: Rendezvous,
        preconditions: Preconditions,
        edits: Edits,
        notifiers: Notifiers,
        must_be_stored: Callable[[str], bool],
        *,
        wall: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._job, self._ledger, self._rendezvous = job, ledger, rendezvous
        self._preconditions, self._edits = preconditions, edits
        self._notifiers, self._wall = notifiers, wall
        self._must_be_stored = must_be_stored
        """Whether an engine of a stream can't read from the trainer."""
        self._trained, self._clock, self._pace = Rate(clock), clock, Pace(ledger)
        self._failing: tuple[float, Problem | None] = (0.0, None)
        """When what fails next to training was reported last, and what it is."""

    @property
    def tokens_per_second(self) -> float | None:
        return self._trained.per_second()

    @property
    def stopping(self) -> bool:
        """Whether rank 0 is to commit and end: a drain, another size, a pod that leaves."""
        return self._job.desired.drain or self._rendezvous.ends_early

    def task(self, attempt: int) -> TrainerTask | None:
        """What rank 0 should do; None while there is nothing."""
        self._job.require_attempt(attempt)
        if self.stopping:
            # Before the answer: if it is lost, rank 0 asks again and gets the same.
            self._rendezvous.stop_served()
            return TrainerTask(kind=TaskKind.STOP)
        stage = self._job.running_stage
        if stage is None or not stage_plan.trains(stage):
            return None
        desired = self._followed()
        spec, index, stream = desired.spec, desired.stage_index, stage_plan.stream_of(stage)
        # Not from memory: the models of a stage that has begun are prepared, though a coordinator
        # that has just started hasn't looked yet.
        base = base_model.address(desired, stream)
        return TrainerTask(
            kind=stage_plan.TASK_KINDS[stage.type],
            stage=stage.name,
            stage_index=index,
            stream=stream,
            initial_model=stage_plan.initial_model(spec, index, desired.run_url, base),
            origin=self._origin(desired),
            run_url=desired.run_url,
            first_version=self._job.first_version(),
            spec=self._rendezvous.of_attempt(stage_plan.for_trainer(desired, index)),
            spec_generation=desired.spec_generation,
            store_versions=self._must_be_stored(stream),
            ledger_epoch=self._ledger.db.text(EPOCH) or "",
        )

    def _origin(self, desired: CoordinatorSpec) -> Origin | None:
        """With the very checkpoint whose ledger was taken over: the ranks load its state."""
        found, entry = stage_plan.origin(desired), lineage.origin(self._ledger.db)
        return found and found.model_copy(update={"entry": entry})

    def _followed(self) -> CoordinatorSpec:
        """The spec in force; while its data is unchecked or wrong, the one before the edit."""
        # From the ledger: a coordinator that has just started has checked nothing yet, and must not
        # hand out an edit that was found wrong before.
        desired, db = self._job.desired, self._ledger.db
        served = stored(db, SERVED)
        same = served is not None and (served.stage_index, served.attempt) == (
            desired.stage_index,
            desired.attempt,
        )
        if served is not None and same and not self._preconditions.are_checked():
            return served
        if served != desired:
            db.put_document(SERVED, desired)
        return desired

    def batch(self, name: str, step: int, attempt: int) -> FixedBatch | Literal[b""] | None:
        """The batch of a step, fixed in the ledger before it leaves.

        Returns:
            None: not ready yet. Empty bytes: there will be none, since the stage does not run, is
            drained or ends before this step. The trainer then looks at its task and learns why.

        Raises:
            AheadError: the ledger has not fixed the batch before this one.
        """
        self._job.require_attempt(attempt)
        stage, db = self._job.running_stage, self._ledger.db
        # After `require_attempt`: a caller of an old attempt must learn that it has ended.
        if stage is None or stage.name != name or stage.type != StageType.RL:
            return b""
        fixed = batches.newest_step(db, name)
        # A trainer that restarted asks again and gets the very same groups.
        if step <= fixed:
            return batches.fixed(db, name, step)
        if step > fixed + 1:
            raise AheadError(fixed)
        block = stage_plan.rl_block(stage)
        # Below the batches that are fixed: those are handed out even during a drain.
        if self.stopping or step > block.steps:
            return b""
        version = self._job.first_version() + step - 1
        size, saved = block.prompts_per_step, block.saved_rollouts
        now = self._wall()
        if expired := batches.expire(db, name, version, stage_plan.max_age(block), now):
            log.warning("%d groups of '%s' were too old for step %d", expired, name, step)
            # Each leaves room at the gate for another one.
            self._notifiers.leases.notify()
        if not batches.assign(db, name, step, size, version, now, saved=saved):
            return None
        # A fixed batch may raise `published_steps`, and with it the gate.
        self._notifiers.leases.notify()
        return batches.fixed(db, name, step)

    def fail_ahead(self, name: str, step: int, fixed: int) -> StaleError:
        """The ledger was restored from an older checkpoint than the one the trainer has in memory.

        Returns:
            The error to raise; the attempt has failed.
        """
        message = (
            f"The trainer asks for step {step} of stage '{name}', but the ledger, restored from a "
            f"checkpoint, knows batches up to step {fixed} only. Training must go on from there."
        )
        pod = pod_name(self._job.desired.job, Role.TRAINER, 0)
        self._rendezvous.fail(pod, Cause.PROCESS_EXIT, message)
        return StaleError(message)

    def require_known(self, name: str, step: int, attempt: int) -> None:
        """Checks that the ledger can vouch for a checkpoint: it knows all its batches.

        Raises:
            StaleError: it was restored and knows fewer; the attempt has failed and goes back.
        """
        self._job.require_attempt(attempt)
        stage = self._job.stage_named(name)
        fixed = batches.newest_step(self._ledger.db, name)
        if stage.type == StageType.RL and step > fixed:
            raise self.fail_ahead(name, step + 1, fixed)

    def report(self, name: str, row: StageProgress) -> None:
        """Keeps one step's progress; the same step reported again changes nothing."""
        self._job.require_attempt(row.attempt)
        self._job.stage_named(name)
        progress.add(self._ledger.db, name, row, self._wall())
        self._edits.followed(name, row)
        self._trained.add(row.metrics.get("tokens", 0.0))

    def report_failures(self, name: str, message: BackgroundFailures) -> None:
        """Takes what fails next to training now."""
        self._job.require_attempt(message.attempt)
        self._job.stage_named(name)
        self._failing = (self._clock(), background_problem(name, message.failures))

    @property
    def background_failure(self) -> Problem | None:
        """What fails next to training; None if nothing does, or no trainer has said so lately."""
        reported, problem = self._failing
        return problem if self._clock() - reported <= REPORT_SECONDS else None

    def committed(self, name: str, checkpoint: CheckpointCommitted) -> None:
        """Covers the batches that the checkpoint contains."""
        self._job.require_attempt(checkpoint.attempt)
        rl = self._job.stage_named(name).type == StageType.RL
        if rl and checkpoint.step < progress.last_committed(self._ledger.db, name):
            # Of an attempt that went back to it: it is the newest once the ledger has followed,
            # which it does when a batch is asked for. A drained ledger must not claim it before.
            log.warning("training of '%s' went back to step %d", name, checkpoint.step)
            return
        # Rank 0 has written head.json before this call: losing the call loses no checkpoint.
        covered = progress.commit(self._ledger.db, name, checkpoint, self._wall())
        log.info("checkpoint of '%s' step %d covers %d groups", name, checkpoint.step, covered)

    def done(self, name: str, message: StageDone) -> None:
        """Ends the stage; a repeated call changes nothing."""
        self._job.require_attempt(message.attempt)
        self._job.stage_named(name)
        db = self._ledger.db
        with db.transaction(durable=True):
            # `finish` cancels what no batch took; assigned groups are covered here.
            batches.cover(db, name, message.step)
            self._edits.ended(name, message)
            ended = stages.finish(db, name, self._wall())
        if ended:
            log.info("stage '%s' ended with step %d", name, message.step)
            self._notifiers.notify_all()

    def goodput(self, name: str) -> float | None:
        """Share of a training stage's time that produced steps that count, 0 to 1."""
        end = stages.finished_at(self._ledger.db, name) or self._wall()
        return self._pace.of(name).goodput(end)

    def remaining_seconds(self, name: str, step: int, total_steps: int) -> float | None:
        """To the end of a training stage, at its pace; None before its first step."""
        return self._pace.of(name).remaining_seconds(step, total_steps)
