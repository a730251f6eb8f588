"""Copies of the ledger in the object store: in every checkpoint, and restored on an empty volume.

Taken while the ledger is written (`ledger.copies`), without what the checkpoint itself covers, so
that it stays small. Groups that were running or admitted after the
checkpoint are issued again after a restore, because the dataset cursor went back with everything
else.
"""

import asyncio
import hashlib
import json
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from sea_api.v1alpha1.stages import Stage
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_data import urls
from sea_data.object_store import ObjectNotFoundError
from sea_runtime.coordinator import stage_plan, stored_checkpoints
from sea_runtime.coordinator.errors import LedgerError
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import batches, episodes, progress
from sea_runtime.coordinator.ledger.copies import Covered, copy
from sea_runtime.coordinator.ledger.database import EPOCH, Database, Ledger
from sea_runtime.coordinator.ledger.trajectories import Files
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.checkpoints import Entry, RollbackRecord
from sea_runtime.wire.trainer import CheckpointCommitted, LedgerSnapshot
from sea_runtime.wire.weights import WeightVersion

FILE = "ledger.sqlite"
FOLDER, NOTE = "ledger", "drained.json"
"""Below the run's address: the ledger of a drained job, and which checkpoint was the newest."""
INITIALISED = "initialised"
VOLATILE = ("world", "trainer-failure")
"""Documents about processes that did not survive what made the restore necessary."""


def checkpoint_key(stage: str, step: int, attempt: int) -> str:
    """Folder of a checkpoint below the run's address."""
    return f"stages/{stage}/checkpoints/step-{step:06d}-a{attempt}"


def strip(path: Path, covered: Covered) -> None:
    """Marks in a copy what the checkpoint covers."""
    # A copy of its own connection and file: this runs in a thread, next to the live ledger.
    with closing(Database(path)) as db:
        with db.transaction():
            batches.cover(db, *covered)
        db.seal()


def upload(
    ledger: Path, files: Files, store: ObjectStore, url: str, covered: Covered | None = None
) -> LedgerSnapshot:
    """Copies the ledger without what is covered and uploads the copy. Blocking.

    Returns:
        The object as a manifest names it, `key` within the run's bucket.
    """
    # On the ledger's volume; `Bootstrap.open` removes what a kill leaves there.
    with tempfile.TemporaryDirectory(dir=ledger.parent, prefix="snapshot-") as folder:
        path = Path(folder) / FILE
        copy(ledger, path, files, covered)
        if covered is not None:
            strip(path, covered)
        with path.open("rb") as file:
            # After `strip`: of the bytes that are uploaded.
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        store.upload_file(path, url)
        key = urls.parse(url).key
        return LedgerSnapshot(key=key, size=path.stat().st_size, sha256=digest)


class Snapshots:
    """Snapshots for checkpoints: what rank 0 asks for before it commits."""

    def __init__(self, job: Job, ledger: Ledger, files: Files, store: ObjectStore) -> None:
        self._job, self._ledger, self._files, self._store = job, ledger, files, store
        self._running: dict[tuple[str, int, int], asyncio.Future[LedgerSnapshot]] = {}

    async def take(self, stage: str, step: int, attempt: int) -> LedgerSnapshot:
        """The ledger without what the checkpoint covers; safe to repeat.

        A caller that asks again while the upload runs waits for the same one: two would write one
        object, and the slower one would replace what the manifest names by size and SHA-256.
        """
        key = (stage, step, attempt)
        running = self._running.get(key)
        if running is None:
            running = asyncio.ensure_future(asyncio.to_thread(self._take, *key))
            self._running[key] = running
            running.add_done_callback(lambda _: self._running.pop(key))
        # A caller that goes away doesn't end it.
        return await asyncio.shield(running)

    def _take(self, stage: str, step: int, attempt: int) -> LedgerSnapshot:
        """Blocking."""
        url = urls.join(self._job.desired.run_url, checkpoint_key(stage, step, attempt), FILE)
        # Only the path: SQLite's connection refuses to be used in this thread.
        path = self._ledger.db.path
        return upload(path, self._files, self._store, url, Covered(stage, step))


def applies(note: Mapping[str, Any] | None, newest: "Checkpoint | None") -> bool:
    """Whether nothing was committed since the note was written: then its ledger is the newest.

    Args:
        newest: checkpoint of the job, None if there is none.
    """
    if note is None or note["checkpoint"] != ([newest.stage, newest.step] if newest else None):
        return False
    # A run that went back behind the note comes to its step again, on other batches. A note of an
    # older release names no manifest.
    manifest = note.get("manifest")
    return newest is None or manifest is None or manifest == newest.entry.manifest_key


def is_initialised(db: Database) -> bool:
    """False for a new file, and for one whose restore was interrupted."""
    return db.text(INITIALISED) is not None


class Checkpoint(NamedTuple):
    """What head.json says last of a stage."""

    stage: str
    entry: Entry
    rollback: RollbackRecord | None = None

    @property
    def step(self) -> int:
        return self.entry.step


def fetch(
    store: ObjectStore, desired: CoordinatorSpec, target: Path
) -> tuple[str, Checkpoint | None]:
    """Downloads the newest ledger to `target`. Blocking.

    Returns:
        Where it came from (empty if the job has left none, and nothing is downloaded), and the
        job's newest checkpoint.
    """
    remove(target)
    newest = newest_checkpoint(store, desired)
    root = urls.join(desired.run_url, FOLDER)
    # The drained ledger first: it is at least as new as the snapshot in its checkpoint.
    if applies(_json(store, urls.join(root, NOTE)), newest):
        url = urls.join(root, FILE)
    elif newest is not None:
        url = snapshot_url(desired.run_url, newest)
    else:
        return "", None
    _download(store, url, target)
    return url, newest


def newest_checkpoint(store: ObjectStore, desired: CoordinatorSpec) -> Checkpoint | None:
    """Of the current stage or, if it has none, of the nearest stage before. Blocking."""
    for stage in _training_stages(desired):
        head = stored_checkpoints.read_head(store, desired.run_url, stage.name)
        if head.newest is not None:
            return Checkpoint(stage.name, head.newest, head.rollback)
    return None


def opened(store: ObjectStore, desired: CoordinatorSpec) -> int:
    """The newest attempt whose processes have opened the current stage; 0 if none has. Blocking."""
    stage = stage_plan.training_stage(desired)
    if stage is None:
        return 0
    return stored_checkpoints.read_head(store, desired.run_url, stage.name).opened


def of_this_line(anchors: Iterable[WeightVersion], line: Mapping[str, int]) -> list[WeightVersion]:
    """Anchors that belong to what the ledger's checkpoint leads to. Pure.

    Later ones were trained on batches that are drawn again now: an engine that started with them
    would serve another policy than the one that is trained.

    Args:
        line: newest version by stream.
    """
    return [one for one in anchors if one.version <= line[one.stream]]


def _training_stages(desired: CoordinatorSpec) -> Iterator[Stage]:
    """The current stage and those before it, newest first."""
    stages = desired.spec.stages[: desired.stage_index + 1]
    return (stage for stage in reversed(stages) if stage_plan.trains(stage))


def snapshot_url(run_url: str, checkpoint: Checkpoint) -> str:
    """The snapshot is stored next to the manifest that head.json names."""
    folder = checkpoint.entry.manifest_key.split("/")[-2]
    return urls.join(run_url, "stages", checkpoint.stage, "checkpoints", folder, FILE)


def remove(file: Path) -> None:
    """Removes a ledger's file with its log: SQLite would apply the log to whatever file comes next.

    A kill in `require_sound` leaves the log of a download.
    """
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)


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
            fresh.delete_text(INITIALISED)
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
        version=entry.version,
        bytes=entry.bytes,
        manifest_key=entry.manifest_key,
    )
    progress.commit(db, checkpoint.stage, message, entry.time)


def disown(db: Database) -> None:
    """The next start restores this ledger from the store again."""
    with db.transaction(durable=True):
        db.delete_text(INITIALISED)


def begin(db: Database) -> None:
    """Makes a new or restored ledger this coordinator's own. Old lease ids never come back."""
    with db.transaction(durable=True):
        # Without blame: the workers that held them may be gone, or hold ids of the old epoch.
        for row in episodes.leased(db):
            episodes.give_back(db, row)
        for name in VOLATILE:
            db.delete_text(name)
        db.put_text(EPOCH, uuid.uuid4().hex[:6])
        db.put_text(INITIALISED, "true")
