"""What survives a power failure: the ledger's log reaches the disk before any answer leaves.

A commit only writes to the page cache, which survives a kill of the process. A transaction that
others rely on (`durable`) is counted; before the next answer to anyone, a thread calls fsync on the
log (`http.durable`). One call covers all commits before it, and the event loop never waits for the
disk.

The log is copied back into the file here too, by a connection of its own: SQLite would do that,
with two calls of fsync, in whichever commit fills the log's thousandth page.
"""

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sea_runtime.coordinator.ledger.database import Database, translated

LOG_BYTES = 16 << 20
"""Size of the log from which on it is copied back."""


def log_of(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + "-wal")


def sync_log(ledger: Path) -> None:
    """Returns once the log is on the disk. Blocking.

    Raises:
        LedgerUnavailableError: the disk refuses; nothing is known to be durable.
    """
    with translated():
        try:
            descriptor = os.open(log_of(ledger), os.O_RDONLY)
        # No log: every commit is in the file, which SQLite has synchronized.
        except FileNotFoundError:
            return
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def copy_back(ledger: Path) -> None:
    """Copies the log back into the file if it is large; commits go on meanwhile. Blocking."""
    log = log_of(ledger)
    if not log.exists() or log.stat().st_size < LOG_BYTES:
        return
    with translated(), closing(sqlite3.connect(ledger, timeout=10.0)) as connection:
        # PASSIVE never waits for the writer. The next commit after a complete copy begins the log
        # from its start.
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


class Durability:
    """Waits until the durable transactions of the ledger are on the disk."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def wait(self, db: Database) -> None:
        """Returns once every durable transaction committed before this call is on the disk."""
        wanted = db.durable_commits
        if wanted <= db.synced_commits:
            return
        async with self._lock:
            # Another caller's fsync may have covered ours while we waited for the lock.
            if wanted <= db.synced_commits:
                return
            # Read before the call: what is committed during it may miss it.
            covered = db.durable_commits
            await asyncio.to_thread(sync_log, db.path)
            db.synced_commits = covered
