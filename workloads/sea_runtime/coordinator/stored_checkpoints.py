"""Committed checkpoints as the object store has them: what a stage's head names, and whether it is
there. Of this run, to go back to (`rollback.py`), or of another, to go on from (`spec.startFrom`).

The other run's checkpoint is looked at, and its ledger taken over, while the ledger of a new run is
made: before any pod with a GPU starts. The ranks then load the state from the other run's folder,
until the run has a checkpoint of its own. Nothing is ever written there, so that run may go on.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from sea_api.v1alpha1.stages import StageType
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_data import urls
from sea_data.object_store import ObjectNotFoundError
from sea_runtime.coordinator import job
from sea_runtime.coordinator.errors import LedgerError, PreconditionError
from sea_runtime.coordinator.ledger import lineage
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.checkpoints import FORMAT, Entry, Head, StoredObject, entry_of
from sea_runtime.wire.trainer import Origin

PARALLEL = 16
"""Requests for sizes at one time."""
READ_BYTES = 8 << 20
SHOWN = 8
"""Steps named in a sentence."""


class Manifest(BaseModel):
    """What the coordinator reads of a checkpoint's manifest."""

    format: int = 1
    step: int
    version: int = 0
    objects: list[StoredObject]
    ledger: StoredObject


def head_url(run_url: str, stage: str) -> str:
    return urls.join(run_url, f"stages/{stage}/checkpoints/head.json")


def url(run_url: str, key: str) -> str:
    """Address of an object that a head or manifest of the run names."""
    return str(urls.S3Url(urls.parse(run_url).bucket, key))


def read_head(store: ObjectStore, run_url: str, stage: str) -> Head:
    """An empty one if nothing is committed. Blocking.

    Raises:
        LedgerError: the object is no head.
    """
    place = head_url(run_url, stage)
    try:
        return Head.model_validate_json(store.get(place))
    except ObjectNotFoundError:
        return Head()
    except ValidationError as error:
        raise LedgerError(
            f"{place} can't be read ({str(error)[:200]}). Restore an earlier version of the object: "
            "it alone says which checkpoints there are."
        ) from error


def steps_of(head: Head, stage: str, step: int) -> str:
    """That there is no checkpoint of a step, and which there are; without a full stop."""
    steps = ", ".join(str(one.step) for one in head.checkpoints[-SHOWN:])
    return f"Stage {stage} has no checkpoint of step {step}. It has steps {steps or 'none'}"


def read_manifest(store: ObjectStore, run_url: str, entry: Entry) -> Manifest:
    """Blocking.

    Raises:
        ObjectNotFoundError, ValueError: it is missing, or is no manifest of this release.
    """
    found = Manifest.model_validate_json(store.get(url(run_url, entry.manifest_key)))
    if (found.format, found.step) != (FORMAT, entry.step):
        raise ValueError(
            f"format {found.format} and step {found.step} instead of {FORMAT} and {entry.step}"
        )
    return found


def faults(store: ObjectStore, run_url: str, entry: Entry) -> Iterator[str]:
    """Sentences about what is missing or has other bytes. Blocking.

    Looks at the size of every object, and at the bytes of manifest and ledger. Those of the states,
    terabytes of a large model, are checked by the ranks that load them.
    """
    try:
        manifest = read_manifest(store, run_url, entry)
    except (ObjectNotFoundError, ValidationError, ValueError) as error:
        yield f"{url(run_url, entry.manifest_key)} is no manifest ({error})."
        return

    def wrong_size(one: StoredObject) -> str:
        place, size = url(run_url, one.key), store.size(url(run_url, one.key))
        if size is None:
            return f"{place} is missing."
        return "" if size == one.size else f"{place} has {size} bytes instead of {one.size}."

    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="sizes") as pool:
        yield from filter(None, pool.map(wrong_size, [*manifest.objects, manifest.ledger]))
    ledger = url(run_url, manifest.ledger.key)
    if _digest(store, ledger, manifest.ledger.size) != manifest.ledger.sha256:
        yield f"{ledger} has another SHA-256 than its manifest names."


def _digest(store: ObjectStore, place: str, size: int) -> str:
    digest = hashlib.sha256()
    for start in range(0, size, READ_BYTES):
        digest.update(store.read_range(place, start, READ_BYTES))
    return digest.hexdigest()


@dataclass(frozen=True)
class OriginLedger:
    """The ledger of the checkpoint, downloaded."""

    source: str
    step: int
    version: int
    """Weight version of the checkpoint."""


def fetch_origin(
    store: ObjectStore, desired: CoordinatorSpec, origin: Origin, target: Path
) -> OriginLedger:
    """Checks the checkpoint and downloads its ledger. Blocking.

    Raises:
        PreconditionError: it isn't there, or is damaged.
    """
    stage = desired.spec.stages[0].name
    head = read_head(store, origin.run_url, stage)
    try:
        entry = entry_of(head, origin.step)
    except KeyError as error:
        raise PreconditionError(
            "StartNotFound",
            f"{steps_of(head, stage, origin.step)} in {origin.run_url}. "
            "startFrom is immutable: create the job again with a checkpoint that `sea checkpoint "
            "list` shows.",
        ) from error
    wrong = next(faults(store, origin.run_url, entry), "")
    if wrong:
        raise PreconditionError(
            "StartDamaged",
            f"The checkpoint of step {origin.step} that startFrom names is damaged: {wrong} "
            "Restore the object, or create the job again with another checkpoint.",
        )
    manifest = read_manifest(store, origin.run_url, entry)
    source = url(origin.run_url, manifest.ledger.key)
    store.download_file(source, target, manifest.ledger.size)
    return OriginLedger(source, origin.step, manifest.version)


def adopt_origin(db: Database, desired: CoordinatorSpec, found: OriginLedger, now: float) -> None:
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
    lineage.adopt(db, stage.name, first, now)
