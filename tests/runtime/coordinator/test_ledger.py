"""The ledger's layouts: a newer program migrates an older file and refuses a newer one."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

import sea_runtime.coordinator
from sea_runtime.coordinator import snapshot
from sea_runtime.coordinator.errors import LedgerError, NotReadyError
from sea_runtime.coordinator.ledger.database import Database, Ledger
from sea_runtime.coordinator.ledger.schema import MIGRATIONS
from sea_runtime.store.s3 import ObjectStore
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.memory_store import MemoryStore

NEWER = (*MIGRATIONS, "ALTER TABLE stages ADD COLUMN note TEXT;")


def layout(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return found


def test_every_older_layout_is_migrated_and_keeps_its_rows(tmp_path: Path) -> None:
    for number in range(1, len(NEWER)):
        path = tmp_path / f"{number}.sqlite"
        with closing(Database(path, NEWER[:number])) as old:
            old.put_text("name", "body")
        with closing(Database(path, NEWER)) as new:
            assert new.text("name") == "body"
            assert new.rows("SELECT note FROM stages") == []
        assert layout(path) == len(NEWER)


def test_a_newer_layout_is_refused_with_a_sentence_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Database(path, NEWER).close()
    with pytest.raises(LedgerError, match=r"a newer sea-operator wrote it\. Run that version"):
        Database(path)
    assert layout(path) == len(NEWER)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Database(path).close()
    broken = (*MIGRATIONS, "CREATE TABLE half (x); CREATE TABLE half (x);")
    with pytest.raises(LedgerError, match="can't be opened as a ledger"):
        Database(path, broken)
    assert layout(path) == len(MIGRATIONS)
    with closing(Database(path, NEWER)) as db:
        assert db.row("SELECT 1 FROM sqlite_schema WHERE name = 'half'") is None


def test_a_restored_snapshot_of_an_older_layout_is_migrated(tmp_path: Path) -> None:
    part, target = tmp_path / "ledger.part", tmp_path / "ledger.sqlite"
    with closing(Database(part, MIGRATIONS[:1])) as old:
        old.put_text("name", "body")
    snapshot.require_sound(part)
    with closing(snapshot.replace(target, part)) as db:
        assert db.text("name") == "body"
    assert layout(target) == len(MIGRATIONS)


def ledger_file(path: Path, body: str) -> bytes:
    """Bytes of a ledger that knows `body`, with nothing left in its log."""
    with closing(Database(path)) as db:
        db.put_text("name", body)
        db.seal()
    return path.read_bytes()


def test_the_log_of_a_restore_that_was_killed_is_not_applied_to_the_next_download(
    tmp_path: Path,
) -> None:
    """It has the pages of another snapshot, and SQLite takes whatever has the file's name."""
    store, part, wanted = MemoryStore(), tmp_path / "ledger.part", kit.desired(kit.spec())
    folder = f"{wanted.run_url}/ledger"
    store.put(f"{folder}/ledger.sqlite", ledger_file(tmp_path / "new", "of the new one"))
    store.put(f"{folder}/drained.json", b'{"checkpoint": null}')
    part.write_bytes(ledger_file(tmp_path / "old", "of the old one"))
    with closing(Database(part)) as killed:
        killed.put_text("name", "of the one that was killed")
        log = part.with_name("ledger.part-wal").read_bytes()
    part.with_name("ledger.part-wal").write_bytes(log)
    source, _ = snapshot.fetch(cast(ObjectStore, store), wanted, part)
    assert source == f"{folder}/ledger.sqlite"
    snapshot.require_sound(part)
    with closing(Database(part)) as db:
        assert db.text("name") == "of the new one"


def test_a_restored_snapshot_of_a_newer_layout_is_refused(tmp_path: Path) -> None:
    part = tmp_path / "ledger.part"
    Database(part, NEWER).close()
    with pytest.raises(LedgerError, match="a newer sea-operator wrote it"):
        snapshot.require_sound(part)


def test_a_ledger_that_is_not_installed_is_not_ready(tmp_path: Path) -> None:
    ledger = Ledger()
    with pytest.raises(NotReadyError, match="restores its ledger"):
        _ = ledger.db
    ledger.install(Database(tmp_path / "ledger.sqlite"))
    assert ledger.available
    ledger.withdraw()
    assert not ledger.available


@pytest.mark.parametrize("word", ["SELECT ", "INSERT ", "UPDATE ", "DELETE FROM"])
def test_all_sql_is_in_the_ledger(word: str) -> None:
    root = Path(sea_runtime.coordinator.__path__[0])
    files = [path for path in root.rglob("*.py") if path.parent.name != "ledger"]
    assert len(files) > 20
    assert [path.name for path in files if f'"{word}' in path.read_text()] == []
