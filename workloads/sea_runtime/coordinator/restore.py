"""An empty volume: the ledger is restored from the newest checkpoint, if there is one.

Groups that were running or admitted after that checkpoint are issued again, because the dataset
cursor went back with everything else.
"""

import json
import logging
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from sea_api.v1alpha1.stages import Stage, StageType
from sea_api.v1alpha1.status import EvaluationResult
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_data import urls
from sea_data.object_store import ObjectNotFoundError
from sea_runtime.coordinator import drain, snapshot, stage_plan
from sea_runtime.coordinator.errors import LedgerError
from sea_runtime.coordinator.ledger import documents, episodes, progress
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.trainer import CheckpointCommitted

log = logging.getLogger(__name__)

INITIALISED = "initialised"
VOLATILE = ("world", "trainer-failure")
"""Documents about processes that did not survive what made the restore necessary."""


def is_initialised(db: Database) -> bool:
    """False for a new file, and for one whose restore was interrupted."""
    return documents.text(db, INITIALISED) is not None


class Checkpoint(NamedTuple):
    """What head.json says last of a stage."""

    stage: str
    entry: dict[str, Any]

    @property
    def step(self) -> int:
        return int(self.entry["step"])


def fetch(
    store: ObjectStore, desired: CoordinatorSpec, target: Path
) -> tuple[str, Checkpoint | None]:
    """Downloads the newest ledger to `target`. Blocking.

    Returns:
        Where it came from (empty if the job has left none, and nothing is downloaded), and the
        job's newest checkpoint.
    """
    newest = newest_checkpoint(store, desired)
    root = urls.join(desired.run_url, drain.FOLDER)
    place = [newest.stage, newest.step] if newest else None
    # The drained ledger first: it is at least as new as the snapshot in its checkpoint.
    if drain.applies(_json(store, urls.join(root, drain.NOTE)), place):
        url = urls.join(root, snapshot.FILE)
    elif newest is not None:
        url = snapshot_url(desired.run_url, newest)
    else:
        return "", None
    _download(store, url, target)
    return url, newest


def newest_checkpoint(store: ObjectStore, desired: CoordinatorSpec) -> Checkpoint | None:
    """Of the current stage or, if it has none, of the nearest stage before. Blocking."""
    for stage in _training_stages(desired):
        head = _json(
            store, urls.join(desired.run_url, f"stages/{stage.name}/checkpoints/head.json")
        )
        if head and head.get("checkpoints"):
            # The trainer appends: the last one is the newest.
            return Checkpoint(stage.name, head["checkpoints"][-1])
    return None


def _training_stages(desired: CoordinatorSpec) -> Iterator[Stage]:
    """The current stage and those before it, newest first."""
    stages = desired.spec.stages[: desired.stage_index + 1]
    return (stage for stage in reversed(stages) if stage_plan.trains(stage))


def snapshot_url(run_url: str, checkpoint: Checkpoint) -> str:
    """The snapshot is stored next to the manifest that head.json names."""
    folder = str(checkpoint.entry["manifest_key"]).rstrip("/").split("/")[-2]
    return urls.join(run_url, "stages", checkpoint.stage, "checkpoints", folder, snapshot.FILE)


def _download(store: ObjectStore, url: str, target: Path) -> None:
    size = store.size(url)
    if size is None:
        raise LedgerError(
            f"The checkpoint has no ledger snapshot at {url}. Restore the object, or delete the "
            "stage's head.json to start the stage from scratch."
        )
    store.download_file(url, target, size)


def _json(store: ObjectStore, url: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(store.get(url))
    except ObjectNotFoundError:
        return None
    return found


def require_sound(part: Path) -> None:
    """Makes a downloaded snapshot ready to be a ledger.

    Raises:
        LedgerError: the file is damaged.
    """
    with closing(Database(part)) as fresh:
        damage = fresh.damage()
        if damage:
            raise LedgerError(
                f"The snapshot is damaged: {damage}. Restore the object, or remove the checkpoint "
                "from the stage's head.json to go on from the one before."
            )
        with fresh.transaction():
            # Not this coordinator's own before `begin`: a kill in between must lead here again.
            documents.delete(fresh, INITIALISED)
        fresh.compact()


def replace(target: Path, part: Path) -> Database:
    """Puts a sound snapshot in the ledger's place and opens it."""
    # Before the file is replaced: SQLite would apply the old file's log to the new one. A kill in
    # between leaves the empty ledger, which is restored again.
    for suffix in ("-wal", "-shm"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    # Atomic within one folder: after a kill the file is the old one or the
    # new one, never half of it.
    part.replace(target)
    return Database(target)


def keep_checkpoint(db: Database, checkpoint: Checkpoint, attempt: int) -> None:
    """The snapshot is older than the commit of its own checkpoint: writes the commit down."""
    entry = checkpoint.entry
    message = CheckpointCommitted(
        attempt=attempt,
        step=checkpoint.step,
        version=entry["version"],
        bytes=entry["bytes"],
        manifest_key=entry["manifest_key"],
    )
    progress.commit(db, checkpoint.stage, message, entry["time"])


def disown(db: Database) -> None:
    """The next start restores this ledger from the store again."""
    with db.transaction(durable=True):
        documents.delete(db, INITIALISED)


def begin(db: Database) -> None:
    """Makes a new or restored ledger this coordinator's own. Old lease ids never come back."""
    with db.transaction(durable=True):
        # Without blame: the workers that held them may be gone, or hold ids of the old epoch.
        for row in episodes.leased(db):
            episodes.give_back(db, row)
        for name in VOLATILE:
            documents.delete(db, name)
        documents.put_text(db, documents.EPOCH, uuid.uuid4().hex[:6])
        documents.put_text(db, INITIALISED, "true")


def read_evaluations(
    store: ObjectStore, desired: CoordinatorSpec
) -> dict[str, list[EvaluationResult]]:
    """Reports of evaluation stages that have ended, by stage. Blocking."""
    found = {}
    for stage in desired.spec.stages[: desired.stage_index]:
        if stage.type == StageType.EVALUATION:
            report = _json(store, report_url(desired.run_url, stage.name))
            if report:
                found[stage.name] = [EvaluationResult(**item) for item in report["results"]]
    return found


def report_url(run_url: str, stage: str) -> str:
    return urls.join(run_url, "evaluation", f"{stage}.json")
