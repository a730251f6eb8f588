"""The ledger's SQLite file in WAL mode, and the one connection that writes it.

kill -9 of this process loses nothing that was committed. What others rely on (a batch before the
trainer sees it, a published version, a checkpoint) is committed `durable`, and survives a power
failure of the node too once `durability` has waited for the disk, which is before anyone hears of
it. Single facts are texts or JSON documents under a name.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from sea_api import lenient
from sea_runtime.coordinator.errors import (
    LedgerError,
    LedgerUnavailableError,
    NotReadyError,
    RefusedError,
)
from sea_runtime.coordinator.ledger.schema import MIGRATIONS

EPOCH = "epoch"
"""Part of every lease id; a restored ledger gets a new one, so that no old id comes back."""

PRAGMAS = (
    "journal_mode=WAL",
    # Doesn't fsync at a commit, which survives a kill but not a power failure: see `durability`.
    "synchronous=NORMAL",
    "wal_autocheckpoint=0",
    "foreign_keys=ON",
    # Debian builds SQLite with it on: deleting what a checkpoint covers would overwrite every byte
    # of it (40 s for the reference run's 1.3 GB, in the event loop).
    "secure_delete=OFF",
)

Model = TypeVar("Model", bound=BaseModel)


class Database:
    """One ledger file, opened; created empty if it does not exist.

    Args:
        path: the file.
        migrations: scripts that lead from layout n to n + 1; a newer program has more of them.

    Raises:
        LedgerError: the file is not a ledger, or a newer program wrote it.
    """

    def __init__(self, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
        self.path = path
        # `isolation_level=None`: the sqlite3 module begins no transactions of its own. `timeout`
        # waits for other connections to the file, such as a snapshot's copy.
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        self._connection.row_factory = sqlite3.Row
        self._open = self._durable = False
        self.durable_commits = 0
        """Durable transactions so far; `durability` brings them to the disk."""
        self.synced_commits = 0
        try:
            self._prepare(migrations)
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

    def _prepare(self, migrations: Sequence[str]) -> None:
        for pragma in PRAGMAS:
            self._connection.execute(f"PRAGMA {pragma}")
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found > len(migrations):
            raise LedgerError(
                f"{self.path} has ledger layout {found}, this program knows layouts up to "
                f"{len(migrations)}: a newer sea-operator wrote it. Run that version or a newer "
                "one, or delete the volume to restore the ledger from an older checkpoint."
            )
        for number in range(found, len(migrations)):
            # Script and version in one transaction: a kill in between repeats the step.
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {migrations[number]} PRAGMA user_version={number + 1}; COMMIT;"
            )

    @property
    def changes(self) -> int:
        """Rows changed so far: while it is the same, every question has the same answer."""
        return self._connection.total_changes

    def close(self) -> None:
        self._connection.close()

    def compact(self) -> None:
        """Gives freed pages back and leaves one file without a log."""
        # It can't run inside a transaction.
        self._execute("VACUUM")
        self.seal()

    def seal(self) -> None:
        """Leaves one file without a log, to be moved or uploaded."""
        self._execute("PRAGMA journal_mode=DELETE")

    def damage(self) -> str | None:
        """What SQLite's own check finds wrong with the file, None if it is sound."""
        found = self.value("PRAGMA quick_check")
        return None if found == "ok" else str(found)

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """All changes inside happen, or none; one inside another joins it.

        Args:
            durable: answers wait until it is on the disk (`durability`); inside another transaction
                it makes that one durable.

        Raises:
            LedgerUnavailableError: the file can't be written now; nothing has changed.
        """
        self._durable |= durable
        if self._open:
            yield
            return
        try:
            # IMMEDIATE takes the write lock now: a deferred transaction could fail half way when it
            # upgrades.
            self._execute("BEGIN IMMEDIATE")
            self._open = True
            yield
            self._execute("COMMIT")
            self.durable_commits += self._durable
        # Whatever was raised: SQLite refuses the next BEGIN while a transaction is open.
        except BaseException:
            # SQLite ends the transaction itself if the volume is full.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._open = self._durable = False

    def run(self, sql: str, *values: Any) -> int:
        """Changes rows; returns how many. Only inside a transaction."""
        assert self._open, "the ledger is changed in transactions only"
        return self._execute(sql, *values).rowcount

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self._execute(sql, *values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._execute(sql, *values).fetchone()
        return found

    def value(self, sql: str, *values: Any) -> Any:
        """First column of the first row, None if there is no row."""
        found = self.row(sql, *values)
        return None if found is None else found[0]

    def text(self, name: str) -> str | None:
        """A single fact by its name, None if there is none."""
        found: str | None = self.value("SELECT body FROM documents WHERE name = ?", name)
        return found

    def put_text(self, name: str, body: str) -> None:
        # Small and rare, and others rely on each of them: spec, world, failure, epoch.
        with self.transaction(durable=True):
            self.run("INSERT OR REPLACE INTO documents (name, body) VALUES (?, ?)", name, body)

    def document(self, name: str, model: type[Model]) -> Model | None:
        """A single fact that is a JSON document."""
        body = self.text(name)
        # Written by the release that ran before an upgrade or a rollback.
        return None if body is None else lenient.read(model, json.loads(body)).value

    def put_document(self, name: str, value: BaseModel) -> None:
        self.put_text(name, value.model_dump_json(by_alias=True))

    def delete_text(self, name: str) -> None:
        """Deletes a single fact, document or not."""
        with self.transaction(durable=True):
            self.run("DELETE FROM documents WHERE name = ?", name)

    def _execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        with translated():
            return self._connection.execute(sql, values)


@contextmanager
def translated() -> Iterator[None]:
    """Errors of SQLite and of the volume as ours."""
    try:
        yield
    # A full volume, a lock, an I/O error. Other errors of sqlite3 (a broken constraint) are bugs.
    except (sqlite3.OperationalError, OSError) as error:
        raise LedgerUnavailableError(
            f"The coordinator can't write its ledger ({error}). Enlarge its volume if it is full "
            "(its PersistentVolumeClaim), or see the log of the coordinator's pod."
        ) from error
    except OverflowError as error:
        raise RefusedError(f"A number in the request is too large: {error}.") from error


class Ledger:
    """The ledger that all components share: unavailable until it is opened or restored."""

    def __init__(self) -> None:
        self._db: Database | None = None

    @property
    def available(self) -> bool:
        return self._db is not None

    @property
    def db(self) -> Database:
        """Raises NotReadyError while there is no ledger."""
        if self._db is None:
            raise NotReadyError(
                "The coordinator waits for the operator's first PUT /v1/spec, or restores its "
                "ledger from the newest checkpoint. Ask again."
            )
        return self._db

    def install(self, db: Database) -> None:
        """Makes a complete ledger available."""
        # Two installed ledgers would mean two writers to one file.
        assert self._db is None
        self._db = db

    def withdraw(self) -> None:
        """Closes the ledger; calls fail with NotReadyError until another is installed."""
        if self._db is not None:
            self._db.close()
            self._db = None
