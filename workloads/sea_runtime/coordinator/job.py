"""What the operator wants of this job (`PUT /v1/spec`), as the ledger holds it.

A new spec takes effect in one transaction, then all waiters look again.
"""

import json
import logging
from collections.abc import Callable

from pydantic import ValidationError

from sea_api.v1alpha1.stages import Stage
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import StagePhase
from sea_runtime.coordinator import stage_plan
from sea_runtime.coordinator.errors import NotReadyError, RefusedError, StaleError
from sea_runtime.coordinator.ledger import lineage, progress, stages
from sea_runtime.coordinator.ledger.database import Database, Ledger

log = logging.getLogger(__name__)

DOCUMENT = "desired"

Write = Callable[[Database, CoordinatorSpec | None, CoordinatorSpec], None]
"""Called with the ledger, the spec before and the spec now, inside the transaction."""


class Job:
    """The spec in force, and the stage that follows from it.

    Args:
        name: of the SEATrainingJob.
        uid: of the SEATrainingJob; specs for another one are refused.
        wall: unix seconds.
    """

    def __init__(self, name: str, uid: str, ledger: Ledger, wall: Callable[[], float]) -> None:
        self.name, self.uid = name, uid
        self._ledger, self._wall = ledger, wall
        self._current: CoordinatorSpec | None = None
        self._pending: CoordinatorSpec | None = None
        self._writes: list[Write] = []
        self._listeners: list[Callable[[], None]] = []

    def on_write(self, write: Write) -> None:
        """Registers what else changes in the ledger together with the spec."""
        self._writes.append(write)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Registers what is called after a spec has taken effect or has arrived."""
        self._listeners.append(listener)

    @property
    def known(self) -> CoordinatorSpec | None:
        """The spec in force; None while the ledger is not available."""
        return self._current if self._ledger.available else None

    @property
    def pending(self) -> CoordinatorSpec | None:
        """Has arrived while the ledger is being opened or restored."""
        return self._pending

    @property
    def desired(self) -> CoordinatorSpec:
        """Raises NotReadyError while no spec is in force."""
        found = self.known
        if found is None:
            raise NotReadyError(
                "The coordinator waits for the operator's first PUT /v1/spec, or restores its "
                "ledger from the newest checkpoint. Ask again."
            )
        return found

    @property
    def attempt(self) -> int:
        return self.desired.attempt

    @property
    def stage(self) -> Stage | None:
        """The stage whose turn it is; None if all are complete."""
        index = self.desired.stage_index
        return self.desired.spec.stages[index] if index < len(self.desired.spec.stages) else None

    @property
    def running_stage(self) -> Stage | None:
        """The stage that runs; None while it waits for data or the base model, or has ended."""
        stage = self.stage
        if stage is None or stages.phase(self._ledger.db, stage.name) != StagePhase.RUNNING:
            return None
        return stage if stages.finished_at(self._ledger.db, stage.name) is None else None

    def first_version(self, stream: str | None = None) -> int:
        """Version that the current stage begins with; by default of the stage's own stream."""
        return first_version(self._ledger.db, self.desired, stream)

    def stage_named(self, name: str) -> Stage:
        """Raises RefusedError if the job has no such stage."""
        for stage in self.desired.spec.stages:
            if stage.name == name:
                return stage
        raise RefusedError(f"The job has no stage '{name}'.")

    def require_attempt(self, attempt: int) -> None:
        """Raises StaleError unless the caller belongs to the current trainer attempt."""
        if attempt != self.attempt:
            raise StaleError(
                f"Attempt {attempt} has ended, attempt {self.attempt} is current. "
                "Stop this process; the supervisor starts the next one."
            )

    def request(self, desired: CoordinatorSpec) -> None:
        """Takes the operator's spec; it waits in memory while there is no ledger.

        Raises:
            RefusedError: it is meant for another job.
        """
        # A pod's address is reused: the operator may have meant a coordinator that is gone.
        if desired.uid != self.uid:
            raise RefusedError(
                f"This is the coordinator of job {self.name} ({self.uid}), but the message is for "
                f"{desired.job} ({desired.uid})."
            )
        if self._ledger.available:
            self.adopt(desired)
        else:
            self._pending = desired
            # Wakes the bootstrap, which waits for a spec to restore with.
            self._changed()

    def adopt(self, desired: CoordinatorSpec) -> None:
        """Puts a spec in force. Attempts never go back."""
        # The operator repeats itself until the state has the digest: no write for what is in force.
        if desired == self._current:
            return
        db = self._ledger.db
        with db.transaction(durable=True):
            merged = self.write(db, desired)
        # Only now: a transaction that failed leaves memory and ledger in agreement.
        self._current = merged
        log.info(
            "spec: stage %d, attempt %d, drain %s (%s)",
            merged.stage_index,
            merged.attempt,
            merged.drain,
            merged.digest,
        )
        self._changed()

    def write(self, db: Database, desired: CoordinatorSpec) -> CoordinatorSpec:
        """Writes a spec and what follows from it into a ledger. Inside a transaction."""
        before = stored(db)
        # Fencing relies on it: a smaller number would let the processes of an
        # ended attempt report again.
        attempt = max(desired.attempt, before.attempt if before else stored_attempt(db))
        merged = desired.model_copy(update={"attempt": attempt})
        # All inside the caller's transaction: a kill leaves the old spec with
        # the old world, or both new.
        db.put_document(DOCUMENT, merged)
        # The operator never goes back, so whatever is before its index is complete, also in a
        # ledger that was restored from before that.
        for stage in merged.spec.stages[: merged.stage_index]:
            stages.complete(db, stage.name, self._wall())
        for write in self._writes:
            write(db, before, merged)
        return merged

    def load(self) -> None:
        """Reads the spec of a ledger that was opened or restored, then adopts a pending one."""
        self._current = stored(self._ledger.db)
        # Cleared before `adopt`, which may raise: the operator sends a spec
        # again until it is in force.
        pending, self._pending = self._pending, None
        if self._current is not None:
            log.info("ledger of %s opened, stage %d", self.name, self._current.stage_index)
            self._changed()
        if pending is not None:
            self.adopt(pending)

    def hold(self) -> None:
        """Keeps the spec in force as the pending one while the ledger is restored again."""
        self._pending, self._current = self._pending or self._current, None

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()


def first_version(db: Database, desired: CoordinatorSpec, stream: str | None = None) -> int:
    """Version of a stream that the current stage begins with; by default of the stage's own."""
    spec = desired.spec
    before = (stage.name for stage in spec.stages[: desired.stage_index])
    # A stage ends with a checkpoint, and every snapshot has those of the stages before.
    steps = {name: progress.last_committed(db, name) for name in before}
    ended = {name: step for name, step in steps.items() if step}
    found = stage_plan.first_version(spec, desired.stage_index, stream, ended)
    stream = stream or stage_plan.stream_of(spec.stages[desired.stage_index])
    # The numbers of a run that another one goes on from count on: trajectories that were admitted
    # there carry them.
    went_on = stream == stage_plan.stream_of(spec.stages[0])
    return found + (lineage.first_version(db) if went_on else 0)


def stored(db: Database, name: str = DOCUMENT) -> CoordinatorSpec | None:
    """A spec of the ledger, by default that in force; None if this release can read none."""
    try:
        return db.document(name, CoordinatorSpec)
    except ValidationError as error:
        # A bound may be newer than the spec. The operator, which has the same ones, says so in the
        # job's status, and sends what it was edited to.
        log.warning("the ledger's spec can't be read: %s", error)
        return None


def stored_attempt(db: Database) -> int:
    """The attempt of a spec that this release can't read; 0 if there is no spec."""
    return int(json.loads(db.text(DOCUMENT) or "{}").get("attempt", 0))
