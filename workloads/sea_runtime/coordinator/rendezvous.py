"""The trainers' rendezvous: which pods form an attempt, whether their processes should run.

The world of an attempt is fixed when all pods of the role have called, and kept in the ledger. A
member that comes back as another process takes its training processes with it: once they had
joined (or if it was rank 0, whose address the others know) the attempt has failed and the
operator starts the next one; before that the new process simply takes the place.
"""

import logging
from collections.abc import Callable

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Cause
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import Problem, TrainerFailure
from sea_runtime.coordinator import stage_plan, trainer_world
from sea_runtime.coordinator.errors import NotReadyError
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import lineage, progress
from sea_runtime.coordinator.ledger.database import Database, Ledger
from sea_runtime.coordinator.membership import SILENCE_SECONDS, TRAINER, Membership
from sea_runtime.coordinator.trainer_world import Candidate, WorldRecord
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply, PodState

log = logging.getLogger(__name__)

WORLD, FAILURE = "world", "trainer-failure"


class Rendezvous:
    """The trainer's side of membership: its world, its failures, its end while draining."""

    def __init__(
        self, job: Job, ledger: Ledger, membership: Membership, wall: Callable[[], float]
    ) -> None:
        self._job, self._ledger, self._membership = job, ledger, membership
        self._wall = wall
        self._heard_before = 0
        """Number of the last heartbeat that came before the attempt began."""

    def write_spec(
        self, db: Database, before: CoordinatorSpec | None, now: CoordinatorSpec
    ) -> None:
        """A new attempt has no world and no failure; one that continues may be stopped again."""
        if before is None or before.attempt != now.attempt:
            # The pod whose end began this attempt counts as alive for some seconds more.
            self._heard_before = self._membership.heartbeats
        # With the spec, in its transaction: a failure of the old attempt must not
        # be read as the new one's.
        if before is not None and before.attempt != now.attempt:
            db.delete_text(FAILURE)
            db.delete_text(WORLD)
        record = db.document(WORLD, WorldRecord)
        # An attempt that makes room for another size ends: rank 0 may have heard of it already, and
        # its processes don't run it again.
        over = record is not None and (now.drain or trainer_world.resizes(now, record))
        if record is not None and not over and (record.stop_served or record.stopped):
            cleared = record.model_copy(update={"stop_served": False, "stopped": False})
            db.put_document(WORLD, cleared)

    @property
    def failure(self) -> TrainerFailure | None:
        """The first failure of the current attempt: what follows it is its consequence."""
        found = self._ledger.db.document(FAILURE, TrainerFailure)
        return found if found and found.attempt == self._job.attempt else None

    @property
    def rank_pods(self) -> list[str]:
        """Pods of the current attempt in rank order; empty until all of them have called."""
        record = self._world()
        return record.world.pods if record else []

    @property
    def user_error(self) -> Problem | None:
        """A mistake of the user that ended the attempt; the next one starts after an edit."""
        found = self.failure
        if found is None or found.cause is not Cause.USER_ERROR:
            return None
        return Problem(
            reason="TrainerStalled",
            message=f"{found.message} The trainer starts again once the job is edited.",
        )

    def fail(self, pod: str, cause: Cause, message: str) -> None:
        """Writes the attempt's failure down, unless it has failed already."""
        # The first cause counts: when one rank dies, the others fail in
        # their collectives soon after.
        if self.failure is not None:
            return
        attempt = self._job.attempt
        log.error("attempt %d failed in %s (%s): %s", attempt, pod, cause, message)
        failure = TrainerFailure(
            attempt=attempt,
            pod=pod,
            cause=cause,
            message=message,
            time=self._wall(),
            spec_generation=self._job.desired.spec_generation,
        )
        self._ledger.db.put_document(FAILURE, failure)

    def answer(self, beat: Heartbeat) -> HeartbeatReply:
        """What a supervisor should do now.

        Raises:
            NotReadyError: it goes on as it was told last.
        """
        record = self._world() or self._form()
        if record is not None:
            self._fail_if_incomplete(record)
        elif self._outlived(beat):
            # No empty reply, which would end them: the last reply counts until all have called.
            raise NotReadyError(
                f"Attempt {self._job.attempt} has outlived the ledger: its pods form a world again."
            )
        if record is None or beat.pod not in record.incarnations:
            return HeartbeatReply()
        attempt = self._job.attempt
        # Before `_updated`, which would store the new incarnation and hide the replacement.
        if trainer_world.replaced(record, beat) and not trainer_world.may_rejoin(record, beat):
            self.fail(
                beat.pod,
                Cause.PROCESS_EXIT,
                f"Pod {beat.pod} was started again while attempt {attempt} ran; its training "
                f"processes are gone.{trainer_world.too_short(record)}",
            )
            return HeartbeatReply()
        # A failure of an earlier attempt is reported until the pod hears of the new one.
        if beat.state == PodState.FAILED and beat.attempt == attempt:
            self.fail(beat.pod, beat.cause or Cause.PROCESS_EXIT, beat.detail)
        # Before `run`: `stopped` may follow from this very heartbeat.
        record = self._updated(record, beat)
        ends = self._job.desired.drain or self._resizes(record)
        run = self.failure is None and not (ends and record.stopped)
        # Nothing is lost with a pod that has nothing to commit.
        run = run and not (beat.leaving and not (record.joined and self._trains()))
        return HeartbeatReply(
            run=run, world=record.world if run else None, keep_stacks=self._hanging()
        )

    def _fail_if_incomplete(self, record: WorldRecord) -> None:
        """Ends an attempt whose processes can't join, since a pod of its world has gone.

        A pod that went a moment ago still counts as living when a world is formed. Once processes
        have joined, they notice it by themselves; of a world of that pod alone nobody else would.
        """
        silent = (pod for pod in record.world.pods if self._membership.get(pod) is None)
        # None calls right after a start of the coordinator.
        gone = next((p for p in silent if self._membership.silence(p) > SILENCE_SECONDS), None)
        if record.joined or gone is None:
            return
        self.fail(
            gone,
            Cause.NODE_LOSS,
            f"Pod {gone} has not been heard of for {SILENCE_SECONDS:.0f} s, and attempt "
            f"{record.world.attempt} can't begin without it.",
        )

    def _hanging(self) -> int:
        """The attempt, if it hangs: what all of its ranks wait for is worth knowing."""
        found = self.failure
        return found.attempt if found is not None and found.cause is Cause.HANG else 0

    def of_attempt(self, spec: Spec) -> Spec:
        """The spec as the processes of the current attempt read it."""
        return trainer_world.of_world(spec, self._world())

    def stop_served(self) -> None:
        """Notes that rank 0 was asked to commit and stop."""
        record = self._world()
        if record is not None and not record.stop_served:
            stopped = record.model_copy(update={"stop_served": True})
            self._ledger.db.put_document(WORLD, stopped)

    @property
    def ends_early(self) -> bool:
        """Whether rank 0 is to commit a last checkpoint: a pod of the attempt is on its way out, or
        another size is asked for."""
        record = self._world()
        return record is not None and (record.leaving or self._resizes(record))

    @property
    def resized_attempt(self) -> int:
        """The attempt, if it has ended with its checkpoint for another size; 0 otherwise."""
        record = self._world()
        if record is None or self.failure is not None or self._job.desired.drain:
            return 0
        return self._job.attempt if record.stopped and self._resizes(record) else 0

    def _resizes(self, record: WorldRecord) -> bool:
        return trainer_world.resizes(self._job.desired, record)

    @property
    def drained(self) -> bool:
        """Whether no training process runs and everything it did is committed."""
        return self._stopped() and self._committed()

    @property
    def awaits_commit(self) -> bool:
        """Whether nothing but steps without a checkpoint holds a drain up."""
        return self._stopped() and not self._committed()

    def _trains(self) -> bool:
        stage = self._job.running_stage
        return stage is not None and stage_plan.trains(stage)

    def _world(self) -> WorldRecord | None:
        """The world of the current attempt, None until it is formed."""
        record = self._ledger.db.document(WORLD, WorldRecord)
        return record if record and record.world.attempt == self._job.attempt else None

    def _form(self) -> WorldRecord | None:
        desired = self._job.desired
        # No world during a drain: a new attempt would start only to be stopped. Nor before the
        # checkpoint that it goes back to is the newest: it would load a later one.
        if desired.drain or lineage.awaited(self._ledger.db, desired):
            return None
        record = trainer_world.form(desired, self._candidates())
        if record is None or self._starts_again(record):
            return None
        log.info("attempt %d: %s", desired.attempt, record.world)
        self._ledger.db.put_document(WORLD, record)
        return record

    def _starts_again(self, record: WorldRecord) -> bool:
        """Fails an attempt whose processes began before the ledger was restored, and have ended.

        The next one trains on other batches after the checkpoint: what engines serve of this one
        must not have the same attempt.
        """
        attempt = record.world.attempt
        if not lineage.ran_before(self._ledger.db, attempt):
            return False
        beats = ((pod, self._membership.get(pod)) for pod in record.world.pods)
        ended = [pod for pod, beat in beats if beat is None or not self._outlived(beat)]
        if ended:
            self.fail(
                ended[0],
                Cause.PROCESS_EXIT,
                f"The ledger was restored from a checkpoint while attempt {attempt} ran, and its "
                f"processes in {ended[0]} have ended: training goes on from the checkpoint.",
            )
        return bool(ended)

    def _outlived(self, beat: Heartbeat) -> bool:
        """Whether a pod still runs processes that began before the ledger was restored."""
        attempt, db = self._job.attempt, self._ledger.db
        runs = beat.attempt == attempt and beat.state != PodState.FAILED
        return runs and self.failure is None and lineage.ran_before(db, attempt)

    def _candidates(self) -> list[Candidate]:
        return [
            Candidate(one.beat, one.number > self._heard_before, self._membership.silence(pod))
            for pod, one in self._membership.members(TRAINER).items()
        ]

    def _updated(self, record: WorldRecord, beat: Heartbeat) -> WorldRecord:
        updated = trainer_world.update(record, beat)
        if updated != record:
            self._ledger.db.put_document(WORLD, updated)
        return updated

    def _stopped(self) -> bool:
        desired = self._job.desired
        return desired.drain and not any(
            self._runs(pod) for pod in trainer_world.trainer_pods(desired)
        )

    def _committed(self) -> bool:
        stage = self._job.running_stage
        if stage is None or not stage_plan.trains(stage):
            return True
        done = progress.step_of_attempt(self._ledger.db, stage.name, self._job.attempt)
        checkpoint = progress.newest_checkpoint(self._ledger.db, stage.name)
        # Steps that this attempt reported: what an earlier one did beyond its
        # checkpoint is lost anyway.
        return done == 0 or (checkpoint is not None and checkpoint["step"] >= done)

    def _runs(self, pod: str) -> bool:
        """Whether a pod may have training processes; unknown counts as yes."""
        beat = self._membership.get(pod)
        if beat is None:
            # A pod on a node that is cut off may still train; it is fenced by
            # the attempt, not by this.
            return self._membership.silence(pod) <= SILENCE_SECONDS
        return beat.attempt != 0 and beat.state != PodState.FAILED
