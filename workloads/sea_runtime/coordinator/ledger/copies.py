"""Copies of the ledger for the object store, made by a thread while the ledger is written.

A copy is one file that needs nothing else: trajectories that are files are in it as rows. What the
checkpoint itself covers is left out while copying, not deleted afterwards: at the reference run's
size that is 1.1 of 1.3 GB.

So are the experts that engines chose (`rollout.routerReplay`), which make a trajectory 58 times as
large: up to 6.3 GB for each batch that waits, with every checkpoint. They would be read only after
the coordinator's volume is lost or training goes back; the few batches that wait then are trained
with the experts that the trainer's own routers choose.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from sea_runtime.coordinator.ledger.database import translated
from sea_runtime.coordinator.ledger.trajectories import Files
from sea_runtime.wire.rollouts import Trajectory, UndecodableError

_TABLES = (
    "SELECT name, sql FROM live.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
)
_INDEXES = "SELECT sql FROM live.sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
_COVERED = "SELECT number FROM live.groups WHERE stage = ? AND step <= ? AND state = 'Assigned'"


class Covered(NamedTuple):
    """Steps of a stage that a checkpoint covers: all up to `step`."""

    stage: str
    step: int


def copy(ledger: Path, target: Path, files: Files, covered: Covered | None) -> None:
    """A consistent copy without the trajectories of covered steps. Blocking.

    Raises:
        LedgerUnavailableError: the ledger can't be read, or the volume has no room for the copy.
    """
    # The lock: a file must not go between the row's read and its own.
    with (
        translated(),
        files.reading,
        closing(sqlite3.connect(target, isolation_level=None, timeout=30.0)) as connection,
    ):
        # A copy that is cut off is deleted: it needs no journal, and no fsync.
        for pragma in ("journal_mode=OFF", "synchronous=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("ATTACH DATABASE ? AS live", (str(ledger),))
        # One read transaction: the writer isn't blocked in WAL mode, and we see one moment.
        connection.execute("BEGIN")
        for name, sql in connection.execute(_TABLES).fetchall():
            connection.execute(sql)
            if name != "trajectories":
                connection.execute(f"INSERT INTO main.{name} SELECT * FROM live.{name}")  # noqa: S608
        _copy_trajectories(connection, files.folder, covered)
        # SQLite has filled it by the largest rows; a number that was given is never given again.
        connection.execute("DELETE FROM main.sqlite_sequence")
        connection.execute("INSERT INTO main.sqlite_sequence SELECT * FROM live.sqlite_sequence")
        for (sql,) in connection.execute(_INDEXES).fetchall():
            connection.execute(sql)
        (layout,) = connection.execute("PRAGMA live.user_version").fetchone()
        connection.execute(f"PRAGMA main.user_version = {layout}")
        connection.execute("COMMIT")


def _copy_trajectories(
    connection: sqlite3.Connection, folder: Path, covered: Covered | None
) -> None:
    # No stage has an empty name: nothing is left out.
    left_out = covered or Covered("", 0)
    where = f"WHERE group_number NOT IN ({_COVERED})"
    found = connection.execute(
        f"SELECT group_number, sample, body, file FROM live.trajectories {where}",  # noqa: S608
        left_out,
    )
    for number, sample, body, file in found:
        whole = body if file is None else (folder / file).read_bytes()
        connection.execute(
            "INSERT INTO main.trajectories VALUES (?, ?, ?, NULL)",
            (number, sample, without_experts(whole)),
        )


def without_experts(body: bytes) -> bytes:
    """The trajectory without experts; the same bytes if it has none. Pure."""
    try:
        found = Trajectory.decode(body)
    # Checked where it is trained on, and nowhere else: the trainer names group and sample.
    except UndecodableError:
        return body
    return replace(found, experts=b"").encode() if found.experts else body
