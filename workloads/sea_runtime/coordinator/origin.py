"""The checkpoint of another run that this one goes on from (`spec.startFrom`), read only.

Looked at, and its ledger taken over, while the ledger of a new run is made: before any pod with a
GPU starts. The ranks then load the state from the other run's folder, until the run has a
checkpoint of its own. Nothing is ever written there, so that run may go on meanwhile.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from sea_api.v1alpha1.stages import Stage, StageType
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_data import urls
from sea_data.object_store import ObjectNotFoundError, PreconditionFailedError
from sea_runtime.coordinator import job, stored_checkpoints
from sea_runtime.coordinator.errors import PreconditionError
from sea_runtime.coordinator.ledger import lineage
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.checkpoints import Entry, entry_of, missing_text
from sea_runtime.wire.trainer import Origin

LOOK_SECONDS = 60.0
"""Between two looks at a damaged checkpoint, whose objects may be put back: each reads the whole
ledger, gigabytes of a long run."""

_KEPT = ("ledger", "origin.json")
"""Below this run's address: the entry of the checkpoint that it has begun from. The other run may
come to that step again, with other weights."""
_Asked = tuple[Origin, Entry, StageType]


@dataclass(frozen=True)
class OriginLedger:
    """The ledger of the checkpoint, downloaded."""

    source: str
    step: int
    version: int
    """Weight version of the checkpoint."""
    asked: _Asked


class OtherRun:
    """Reads the checkpoint, and remembers why it was refused: the coordinator asks every 3 s.

    Args:
        wall: unix seconds.
    """

    def __init__(self, store: ObjectStore, wall: Callable[[], float]) -> None:
        self._store, self._wall = store, wall
        self._refused: tuple[_Asked, PreconditionError, float] | None = None
        """With the time of the next look."""

    def fetch(self, desired: CoordinatorSpec, origin: Origin, target: Path) -> OriginLedger:
        """Checks the checkpoint and downloads its ledger. Blocking.

        Raises:
            PreconditionError: it isn't there, or is damaged, or was refused before.
        """
        stage, kept = desired.spec.stages[0], urls.join(desired.run_url, *_KEPT)
        known = self._kept(kept)
        entry = known or self._entry(stage, origin)
        asked = (origin, entry, stage.type)
        if self._refused is not None:
            refused, error, again = self._refused
            if refused == asked and self._wall() < again:
                raise error
        if wrong := next(stored_checkpoints.faults(self._store, origin.run_url, entry), ""):
            raise self._refuse(asked, _damaged(origin, wrong), self._wall() + LOOK_SECONDS)
        manifest = stored_checkpoints.read_manifest(self._store, origin.run_url, entry)
        source = stored_checkpoints.url(origin.run_url, manifest.ledger.key)
        self._store.download_file(source, target, manifest.ledger.size)
        # Once it is known to be sound: a coordinator that loses its volume goes on from the same.
        if known is None and not self._keep(kept, entry):
            # Another coordinator of this run, cut off and alive, has chosen before.
            return self.fetch(desired, origin, target)
        return OriginLedger(source, origin.step, manifest.version, asked)

    def adopt(self, db: Database, desired: CoordinatorSpec, found: OriginLedger) -> None:
        """Makes the other run's ledger the beginning of this one. Inside a transaction.

        Raises:
            PreconditionError: the stage was of another type there.
        """
        stage, theirs = desired.spec.stages[0], job.stored(db)
        types = {one.name: one.type for one in theirs.spec.stages} if theirs else {}
        if types.get(stage.name, stage.type) != stage.type:
            # Only after the download: nothing but the ledger knows it. Never downloaded again.
            raise self._refuse(found.asked, _differs(stage, types[stage.name]), math.inf)
        # An RL stage publishes a version per step, a supervised one a single one at its end.
        first = found.version - (found.step if stage.type is StageType.RL else 0)
        lineage.adopt(db, stage.name, first, found.asked[1])

    def _kept(self, url: str) -> Entry | None:
        """The checkpoint that this run has begun from."""
        try:
            return Entry.model_validate_json(self._store.get(url))
        except ObjectNotFoundError:
            return None
        except ValidationError as error:
            raise PreconditionError(
                "StartDamaged",
                f"{url}, which names the checkpoint that this run has begun from, can't be read. "
                "Restore it, or delete it to begin from what startFrom names now.",
            ) from error

    def _keep(self, url: str, entry: Entry) -> bool:
        """Whether no other choice was kept before."""
        try:
            self._store.put_if(url, entry.model_dump_json().encode(), None)
        except PreconditionFailedError:
            return False
        return True

    def _entry(self, stage: Stage, origin: Origin) -> Entry:
        head = stored_checkpoints.read_head(self._store, origin.run_url, stage.name)
        try:
            return entry_of(head, origin.step)
        except KeyError as error:
            raise PreconditionError(
                "StartNotFound",
                f"{missing_text(head, stage.name, origin.step)} in {origin.run_url}. startFrom is "
                "immutable: create the job again with a checkpoint that `sea checkpoint list` "
                "shows.",
            ) from error

    def _refuse(self, asked: _Asked, error: PreconditionError, again: float) -> PreconditionError:
        self._refused = (asked, error, again)
        return error


def _damaged(origin: Origin, wrong: str) -> PreconditionError:
    return PreconditionError(
        "StartDamaged",
        f"The checkpoint of step {origin.step} that startFrom names is damaged: {wrong} "
        "Restore the object, or create the job again with another checkpoint.",
    )


def _differs(stage: Stage, theirs: StageType) -> PreconditionError:
    return PreconditionError(
        "StartDiffers",
        f"Stage {stage.name} is of type {stage.type}, but of type {theirs} in the run that "
        "startFrom names. Create the job again with a first stage of that type.",
    )
