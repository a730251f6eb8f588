"""Trajectories of finished episodes: small ones in the ledger, large ones in files next to it.

A trajectory of 32k tokens has 420 kB. In the ledger, writing it, reading a batch of 256 and
deleting what a checkpoint covers would each hold up the event loop; as files all of that happens in
threads.
The row decides: a file counts once a committed row names it (`Files.stored`), and is deleted some
time after no row does (`Files.sweep`), so a kill at any moment costs a file that nobody needs.
"""

import asyncio
import os
import sqlite3
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sea_runtime.coordinator.ledger.database import Database, translated

INLINE_BYTES = 32 << 10
"""Up to this size SQLite is faster than a file of its own."""


def folder_of(ledger: Path) -> Path:
    return ledger.with_name("trajectories")


def add(db: Database, number: int, sample: int, body: bytes, file: str | None) -> None:
    """Adds a trajectory; `file` has its bytes, if it isn't None."""
    inline = body if file is None else None
    db.run("INSERT INTO trajectories VALUES (?, ?, ?, ?)", number, sample, inline, file)


def drop(db: Database, number: int) -> None:
    db.run("DELETE FROM trajectories WHERE group_number = ?", number)


@dataclass(frozen=True)
class StoredTrajectory:
    """A finished episode's trajectory, and where its bytes are."""

    number: int
    """Number of the group."""
    sample: int
    reward: float
    nbytes: int
    file: Path | None
    """None: in the ledger."""


def of_group(connection: sqlite3.Connection, folder: Path, number: int) -> list[StoredTrajectory]:
    """A group's trajectories without their bytes. Blocking.

    Raises:
        FileNotFoundError: the group was covered or ended meanwhile.
    """
    rows = connection.execute(
        "SELECT t.sample, e.reward, LENGTH(t.body), t.file FROM episodes e "
        "JOIN trajectories t USING (group_number, sample) "
        # By sample, not by arrival: the same bytes every time the batch is asked for.
        "WHERE e.group_number = ? ORDER BY e.sample",
        (number,),
    )
    found = []
    for sample, reward, inline, name in rows:
        file = None if name is None else folder / name
        nbytes = inline if file is None else file.stat().st_size
        found.append(StoredTrajectory(number, sample, reward, nbytes, file))
    return found


def inline_body(connection: sqlite3.Connection, one: StoredTrajectory) -> bytes:
    """The bytes of a trajectory that is in the ledger. Blocking.

    Raises:
        FileNotFoundError: the group was covered or ended meanwhile.
    """
    row = connection.execute(
        "SELECT body FROM trajectories WHERE group_number = ? AND sample = ?",
        (one.number, one.sample),
    ).fetchone()
    if row is None:
        raise FileNotFoundError(f"Trajectory {one.number}.{one.sample} was dropped.")
    body: bytes = row[0]
    return body


class Files:
    """The files of one ledger's large trajectories."""

    def __init__(self, ledger: Path) -> None:
        self.folder = folder_of(ledger)
        self._pending: set[str] = set()
        """Names whose rows are not committed yet."""
        self.reading = threading.Lock()
        """Held while a snapshot reads files of rows that may be deleted meanwhile."""

    @asynccontextmanager
    async def stored(self, body: bytes | None) -> AsyncIterator[str | None]:
        """The name of a new file with `body`; None if it is small enough for the ledger.

        It stays after the block if a committed row names it.

        Raises:
            LedgerUnavailableError: the volume is full.
        """
        if body is None or len(body) <= INLINE_BYTES:
            yield None
            return
        name = uuid.uuid4().hex
        self._pending.add(name)
        try:
            await asyncio.to_thread(self._write, name, body)
            yield name
        finally:
            self._pending.discard(name)

    def _write(self, name: str, body: bytes) -> None:
        with translated():
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / name).open("wb") as file:
                file.write(body)
                file.flush()
                # Before a row names it: that row may be on the disk before the bytes are.
                os.fsync(file.fileno())
            descriptor = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    async def sweep(self, db: Database) -> int:
        """Deletes files that no row names; returns how many."""
        if not self.folder.is_dir():
            return 0
        # Listed first: a file that comes later is not considered, whatever its row does.
        found = await asyncio.to_thread(lambda: {file.name for file in self.folder.iterdir()})
        # Not waited for: the next pass comes soon. Known rows are read under the lock, so that a
        # snapshot that begins later sees no row of a file that goes now.
        if not found or not self.reading.acquire(blocking=False):
            return 0
        try:
            rows = db.rows("SELECT file FROM trajectories WHERE file IS NOT NULL")
            unused = found - self._pending - {row[0] for row in rows}
            await asyncio.to_thread(self._delete, unused)
        finally:
            self.reading.release()
        return len(unused)

    def _delete(self, names: set[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
