"""The checkpoint of another run that this one goes on from (`spec.startFrom`), read only.

Looked at, and its ledger taken over, while the ledger of a new run is made: before any pod with a
GPU starts. The ranks then load the state from the other run's folder, until the run has a
checkpoint of its own. Nothing is ever written there, so that run may go on meanwhile.
"""

from dataclasses import dataclass
from pathlib import Path

from sea_api.v1alpha1.stages import StageType
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_runtime.coordinator import job, stored_checkpoints
from sea_runtime.coordinator.errors import PreconditionError
from sea_runtime.coordinator.ledger import imported
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.checkpoints import entry_of
from sea_runtime.wire.trainer import Origin


@dataclass(frozen=True)
class OriginLedger:
    """The ledger of the checkpoint, downloaded."""

    source: str
    step: int
    version: int
    """Weight version of the checkpoint."""


def fetch(
    store: ObjectStore, desired: CoordinatorSpec, origin: Origin, target: Path
) -> OriginLedger:
    """Checks the checkpoint and downloads its ledger. Blocking.

    Raises:
        PreconditionError: it isn't there, or is damaged.
    """
    stage = desired.spec.stages[0].name
    head = stored_checkpoints.read_head(store, origin.run_url, stage)
    try:
        entry = entry_of(head, origin.step)
    except KeyError as error:
        raise PreconditionError(
            "StartNotFound",
            f"{stored_checkpoints.steps_of(head, stage, origin.step)} in {origin.run_url}. "
            "startFrom is immutable: create the job again with a checkpoint that `sea checkpoint "
            "list` shows.",
        ) from error
    wrong = next(stored_checkpoints.faults(store, origin.run_url, entry), "")
    if wrong:
        raise PreconditionError(
            "StartDamaged",
            f"The checkpoint of step {origin.step} that startFrom names is damaged: {wrong} "
            "Restore the object, or create the job again with another checkpoint.",
        )
    manifest = stored_checkpoints.read_manifest(store, origin.run_url, entry)
    source = stored_checkpoints.url(origin.run_url, manifest.ledger.key)
    store.download_file(source, target, manifest.ledger.size)
    return OriginLedger(source, origin.step, manifest.version)


def adopt(db: Database, desired: CoordinatorSpec, found: OriginLedger, now: float) -> None:
    """Makes the other run's ledger the beginning of this one. Inside a transaction.

    Raises:
        PreconditionError: the stage was of another type there.
    """
    stage, theirs = desired.spec.stages[0], job.stored(db)
    types = {one.name: one.type for one in theirs.spec.stages} if theirs else {}
    if types.get(stage.name, stage.type) != stage.type:
        raise PreconditionError(
            "StartDiffers",
            f"Stage {stage.name} is of type {stage.type}, but of type {types[stage.name]} in the "
            "run that startFrom names. Create the job again with a first stage of that type.",
        )
    # An RL stage publishes a version per step, a supervised one a single one at its end.
    first = found.version - (found.step if stage.type is StageType.RL else 0)
    imported.adopt(db, stage.name, first, now)
