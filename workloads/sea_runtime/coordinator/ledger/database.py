"""One SQLite file in WAL mode and the one connection that writes it.

kill -9 of this process loses nothing that was committed. What others rely on (a batch before the
trainer sees it, a published version, a checkpoint) is committed `durable`, which also survives the
loss of the node's power.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sea_runtime.coordinator.errors import LedgerError
from sea_runtime.coordinator.ledger.schema import SCHEMA, VERSION


class Database:
    """The ledger's file, opened; made with an empty schema where there is none."""

    def __init__(self, path: Path) -> None:
        """Raises LedgerError where the file is none, or of another layout."""
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        self._connection.row_factory = sqlite3.Row
        self._open = False
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self.close()
            raise LedgerError(
                f"{path} can't be opened as a ledger ({error}). Make room on the volume if it is "
                "full; otherwise delete the volume to restore the ledger from the newest "
                "checkpoint."
            ) from error
        except LedgerError:
            self.close()
            raise

    def _prepare(self) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        found = self.value("PRAGMA user_version")
        if found == 0:
            script = f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version={VERSION}; COMMIT;"
            self._connection.executescript(script)
        elif found != VERSION:
            raise LedgerError(
                f"{self.path} has ledger layout {found}, this program reads {VERSION}. "
                "Run the version of sea-operator that wrote it, or delete the volume to restore "
                "the ledger from the newest checkpoint."
            )

    def close(self) -> None:
        self._connection.close()

    def compact(self) -> None:
        """Gives freed pages back and leaves one file without a log beside it."""
        self._connection.execute("VACUUM")
        self._connection.execute("PRAGMA journal_mode=DELETE")

    def damage(self) -> str | None:
        """What SQLite's own check finds wrong with the file, None where it is sound."""
        found = self.value("PRAGMA quick_check")
        return None if found == "ok" else str(found)

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """All changes inside happen, or none; one inside another joins it."""
        if self._open:
            yield
            return
        if durable:
            self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("BEGIN IMMEDIATE")
        self._open = True
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite ends it itself where the volume is full
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._open = False
            if durable:
                self._connection.execute("PRAGMA synchronous=NORMAL")

    def run(self, sql: str, *values: Any) -> int:
        """Changes rows; returns how many. Only inside a transaction."""
        assert self._open, "the ledger is changed in transactions only"
        return self._connection.execute(sql, values).rowcount

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
        return found

    def value(self, sql: str, *values: Any) -> Any:
        """First column of the first row, None where there is no row."""
        found = self.row(sql, *values)
        return None if found is None else found[0]
