"""Weight versions in the ledger: immutable, numbered, never going back.

The newest attempt wins if two published the same version. After a restart the trainer
publishes versions again that engines have long passed; they are kept for late joiners, because the
memory that the old attempt served its versions from is gone. A copy in the object store stays
known when its version is published again without one. Versions are stored compact, and each
layout that they name once.
"""

import sqlite3
from collections.abc import Collection
from functools import lru_cache

from sea_runtime.coordinator.errors import StaleError
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.transport import layouts
from sea_runtime.transport.stored_versions import is_stored
from sea_runtime.wire.weights import Adopted, WeightVersion

_LAYOUT = "layout:"
"""Begins the names of layouts among the ledger's documents."""
KEPT = 32
"""Versions behind a published one whose shards are kept, megabytes each for a large model: more
than engines lag behind. Of older ones only the number stays."""


def publish(db: Database, version: WeightVersion, now: float) -> bool:
    """Writes a version; False if it was there already.

    Raises:
        StaleError: a newer attempt published it before.
    """
    with db.transaction(durable=True):
        _forget_older(db, version)
        known = db.value(
            "SELECT attempt FROM weights WHERE stream = ? AND version = ?",
            version.stream,
            version.version,
        )
        # `>`: the same attempt may repeat itself, since its answer may have been lost.
        if known is not None and known > version.attempt:
            raise StaleError(
                f"Attempt {known} published version {version.version} of '{version.stream}' "
                f"already; attempt {version.attempt} has ended."
            )
        body = version.model_dump_json()
        db.run(
            "INSERT INTO weights (stream, version, attempt, body, anchor, time) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (stream, version) DO UPDATE SET "
            "attempt = excluded.attempt, body = excluded.body, "
            # A repeated version without a copy keeps the older copy, whose
            # bytes are still in the store.
            "anchor = COALESCE(excluded.anchor, anchor)",
            version.stream,
            version.version,
            version.attempt,
            body,
            body if is_stored(version) else None,
            now,
        )
        _name_layouts(db, version)
    return known is None


def _forget_older(db: Database, version: WeightVersion) -> None:
    # By the version's own number, not the newest: a trainer may have gone back.
    where = (version.stream, version.version - KEPT)
    db.run("UPDATE weights SET body = '' WHERE stream = ? AND version < ? AND body != ''", *where)
    # The newest copy stays, however old it is.
    db.run(
        "UPDATE weights SET anchor = NULL WHERE stream = ?1 AND version < ?2 "
        "AND version < (SELECT MAX(version) FROM weights WHERE stream = ?1 AND anchor IS NOT NULL)",
        *where,
    )
    db.run(
        "DELETE FROM version_layouts WHERE stream = ?1 AND version < ?2 AND version NOT IN "
        "(SELECT version FROM weights WHERE stream = ?1 AND version < ?2 AND anchor IS NOT NULL)",
        *where,
    )


def _name_layouts(db: Database, version: WeightVersion) -> None:
    """Writes down which layouts a version names: it is asked far more often than it changes."""
    for digest in layouts.missing(version, {}):
        db.run(
            "INSERT OR IGNORE INTO version_layouts VALUES (?, ?, ?)",
            version.stream,
            version.version,
            digest,
        )


def forget_layouts(db: Database) -> None:
    """Deletes the layouts that no version names whose shards are kept."""
    # Of names alone: the bodies of the versions have megabytes each, those of layouts tens.
    used = {_LAYOUT + row[0] for row in db.rows("SELECT DISTINCT digest FROM version_layouts")}
    with db.transaction():
        for row in db.rows("SELECT name FROM documents WHERE name LIKE ?", f"{_LAYOUT}%"):
            if row[0] not in used:
                db.run("DELETE FROM documents WHERE name = ?", row[0])


def add_layout(db: Database, digest: str, text: str) -> None:
    """Keeps the JSON of a layout, as it is."""
    db.put_text(_LAYOUT + digest, text)


def layout(db: Database, digest: str) -> str | None:
    """The JSON of a layout; None if the ledger lacks it."""
    return db.text(_LAYOUT + digest)


def missing_layouts(db: Database, version: WeightVersion) -> list[str]:
    """Digests of layouts that the version names and the ledger lacks."""
    named = layouts.missing(version, {})
    # Without the bodies, which are large.
    known = "SELECT 1 FROM documents WHERE name = ?"
    return [digest for digest in named if db.value(known, _LAYOUT + digest) is None]


def layout_texts(db: Database, version: WeightVersion) -> dict[str, str]:
    """JSON of the layouts that a version names, by digest."""
    found = {digest: layout(db, digest) for digest in layouts.missing(version, {})}
    return {digest: text for digest, text in found.items() if text is not None}


def add_anchor(db: Database, version: WeightVersion, now: float) -> None:
    """Registers a copy in the object store that a restored ledger does not know of; compact."""
    body = version.model_dump_json()
    db.run(
        "INSERT OR IGNORE INTO weights (stream, version, attempt, body, anchor, time) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        version.stream,
        version.version,
        version.attempt,
        body,
        body,
        now,
    )
    _name_layouts(db, version)


def forget_later(db: Database, stream: str, version: int) -> None:
    """Deletes the versions after one that the ledger has gone back to. Inside a transaction."""
    for table in ("weights", "version_layouts"):
        db.run(f"DELETE FROM {table} WHERE stream = ? AND version > ?", stream, version)  # noqa: S608


def newest(db: Database, stream: str) -> int:
    """The largest version ever published; 0 while there is only the base model."""
    return db.value("SELECT COALESCE(MAX(version), 0) FROM weights WHERE stream = ?", stream) or 0


def newest_of_attempt(db: Database, stream: str, attempt: int) -> int:
    """The largest version that this attempt has published; 0 if it has published none."""
    return (
        db.value(
            "SELECT COALESCE(MAX(version), 0) FROM weights WHERE stream = ? AND attempt = ?",
            stream,
            attempt,
        )
        or 0
    )


def reachable(db: Database, stream: str, attempt: int, after: int) -> WeightVersion | None:
    """The largest version above `after` that an engine can still get.

    That is one of the living attempt, or an anchor.
    """
    body = db.value(
        "SELECT CASE WHEN attempt = ?2 THEN body ELSE anchor END FROM weights "
        "WHERE stream = ?1 AND version > ?3 AND (attempt = ?2 OR anchor IS NOT NULL) "
        "ORDER BY version DESC LIMIT 1",
        stream,
        attempt,
        after,
    )
    return _of_attempt(body, attempt)


def held(
    db: Database, stream: str, attempt: int, after: int, copies: Collection[tuple[int, int]]
) -> WeightVersion | None:
    """The largest version above `after` that engines hold; `copies` are (version, attempt)."""
    for version, owner in sorted(copies, reverse=True):
        if version <= after:
            return None
        # Another attempt may have published the number again, with other weights.
        body = db.value(
            "SELECT body FROM weights WHERE stream = ? AND version = ? AND attempt = ? "
            "AND body != ''",
            stream,
            version,
            owner,
        )
        if body is not None:
            return _of_attempt(body, attempt)
    return None


def anchor(db: Database, stream: str, attempt: int) -> WeightVersion | None:
    """The largest version that the object store has, wholly or as deltas; `attempt` lives."""
    body = db.value(
        "SELECT anchor FROM weights WHERE stream = ? AND anchor IS NOT NULL "
        "ORDER BY version DESC LIMIT 1",
        stream,
    )
    return _of_attempt(body, attempt)


def _of_attempt(body: str | None, attempt: int) -> WeightVersion | None:
    """Fast-path addresses are dead once their attempt is: an engine would wait for each in vain."""
    if body is None:
        return None
    version = _parsed(body)
    return version if version.attempt == attempt else version.copies()


@lru_cache(maxsize=4)
def _parsed(body: str) -> WeightVersion:
    # All engines that wait look again whenever one of them has the version.
    return WeightVersion.model_validate_json(body)


def add_adoption(db: Database, stream: str, message: Adopted, now: float) -> None:
    """Writes down that an engine serves a version, with the times of the update."""
    with db.transaction():
        db.run(
            "INSERT INTO adoptions "
            "(stream, pod, version, transport, transfer_s, apply_s, pause_s, time) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            stream,
            message.pod,
            message.version,
            message.transport,
            message.transfer_s,
            message.apply_s,
            message.pause_s,
            now,
        )


def adoptions(db: Database) -> list[sqlite3.Row]:
    return db.rows("SELECT * FROM adoptions ORDER BY number")
