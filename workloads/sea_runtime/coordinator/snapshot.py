"""A copy of the ledger inside every checkpoint: what survives when the volume is lost.

Taken with SQLite's backup API while the ledger is written; what the checkpoint itself covers is
dropped from the copy, so that it stays small.
"""

import hashlib
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sea_data import urls
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import batches
from sea_runtime.coordinator.ledger.database import Database, Ledger, copy
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.trainer import LedgerSnapshot

FILE = "ledger.sqlite"


def checkpoint_key(stage: str, step: int, attempt: int) -> str:
    """Folder of a checkpoint below the run's address."""
    return f"stages/{stage}/checkpoints/step-{step:06d}-a{attempt}"


def strip(path: Path, stage: str, step: int) -> None:
    """Drops from a copy what the checkpoint of `step` covers."""
    # A copy of its own connection and file: this runs in a thread, next to the live ledger.
    with closing(Database(path)) as db:
        with db.transaction():
            batches.cover(db, stage, step)
        db.compact()


def upload(
    ledger: Path,
    store: ObjectStore,
    url: str,
    change: Callable[[Path], None] = lambda _: None,
) -> LedgerSnapshot:
    """Copies the ledger, changes the copy, uploads it. Blocking.

    Returns:
        The object as a manifest names it, `key` within the run's bucket.
    """
    # On the ledger's volume; `Bootstrap.open` removes what a kill leaves there.
    with tempfile.TemporaryDirectory(dir=ledger.parent, prefix="snapshot-") as folder:
        path = Path(folder) / FILE
        copy(ledger, path)
        change(path)
        with path.open("rb") as file:
            # After `change`: of the bytes that are uploaded.
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        store.upload_file(path, url)
        key = urls.parse(url).key
        return LedgerSnapshot(key=key, size=path.stat().st_size, sha256=digest)


class Snapshots:
    """Snapshots for checkpoints: what rank 0 asks for before it commits."""

    def __init__(self, job: Job, ledger: Ledger, store: ObjectStore) -> None:
        self._job, self._ledger, self._store = job, ledger, store

    def take(self, stage: str, step: int, attempt: int) -> LedgerSnapshot:
        """The ledger without what the checkpoint covers. Blocking; safe to repeat."""
        url = urls.join(self._job.desired.run_url, checkpoint_key(stage, step, attempt), FILE)
        # Only the path: SQLite's connection refuses to be used in this thread.
        path = self._ledger.db.path
        return upload(path, self._store, url, lambda copied: strip(copied, stage, step))
