"""A copy of the ledger inside every checkpoint: what survives when the volume is lost.

Taken with SQLite's backup API while the ledger goes on; what the checkpoint itself covers is left
out of the copy, so that it stays small.
"""

import hashlib
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sea_data import urls
from sea_runtime.coordinator.ledger import batches
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.trainer import LedgerSnapshot

FILE = "ledger.sqlite"


def checkpoint_key(stage: str, step: int, attempt: int) -> str:
    """Folder of a checkpoint below the run's address."""
    return f"stages/{stage}/checkpoints/step-{step:06d}-a{attempt}"


def copy(ledger: Path, target: Path) -> None:
    """A consistent copy of a ledger that is being written. Blocking."""
    with (
        closing(sqlite3.connect(ledger, timeout=30.0)) as source,
        closing(sqlite3.connect(target)) as destination,
    ):
        source.backup(destination)


def strip(path: Path, stage: str, step: int) -> None:
    """Drops from a copy what the checkpoint of `step` covers."""
    with closing(Database(path)) as db:
        with db.transaction():
            batches.cover(db, stage, step)
        db.compact()


def take(
    ledger: Path, store: ObjectStore, run_url: str, stage: str, step: int, attempt: int
) -> LedgerSnapshot:
    """The ledger for a checkpoint, without what the checkpoint covers. Blocking; safe to repeat."""
    url = urls.join(run_url, checkpoint_key(stage, step, attempt), FILE)
    return upload(ledger, store, url, lambda path: strip(path, stage, step))


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
    with tempfile.TemporaryDirectory(dir=ledger.parent, prefix="snapshot-") as folder:
        path = Path(folder) / FILE
        copy(ledger, path)
        change(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        store.upload_file(path, url)
        key = urls.parse(url).key
        return LedgerSnapshot(key=key, size=path.stat().st_size, sha256=digest)
