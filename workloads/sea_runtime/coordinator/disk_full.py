"""A full volume: whether the ledger can be written again after calls have failed on it.

`routes/common.py` answers 503 and reports the failure; most calls that would show the end of it are
rare or only read, so the stage controller asks here.
"""

import logging

from sea_runtime.coordinator.errors import LedgerUnavailableError
from sea_runtime.coordinator.ledger import documents
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.problems import Problems, Source

log = logging.getLogger(__name__)

PROBE, PROBE_BYTES = "room", 1 << 20
"""A document of the size of a large trajectory: if it fits, calls fit too."""


def look(db: Database, problems: Problems) -> None:
    """Clears the problem once a write of some size succeeds; nothing while there is none."""
    # No probe while all is well: it costs an fsync and a megabyte of log.
    if not problems.is_failing(Source.CALLS):
        return
    try:
        with db.transaction(durable=True):
            # Committed, not rolled back: SQLite writes the log at the commit, and
            # only then is the room needed.
            documents.put_text(db, PROBE, "x" * PROBE_BYTES)
        with db.transaction(durable=True):
            # A kill before this leaves one document, which the next probe replaces.
            documents.delete(db, PROBE)
    except LedgerUnavailableError as error:
        problems.failed(Source.CALLS, error)
    else:
        problems.passed(Source.CALLS)
        log.info("the ledger can be written again")
