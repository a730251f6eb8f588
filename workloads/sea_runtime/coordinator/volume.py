"""A full volume: whether the ledger can be written again after calls have failed on it.

`routes/common.py` answers 503 and keeps the failure in `core.setbacks`; most calls that would show
the end of it come seldom or only read, so the stages' loop asks here.
"""

import logging
import sqlite3

from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.ledger import documents
from sea_runtime.coordinator.setbacks import CALLS

log = logging.getLogger(__name__)

ROOM, ROOM_BYTES = "room", 1 << 20
"""A document of the size of a large trajectory: where it fits, calls fit too."""


def look(core: Coordinator) -> None:
    """Takes the problem back once a write of some size works; nothing while there is none."""
    if not core.setbacks.stands(CALLS):
        return
    try:
        with core.ledger.transaction(durable=True):
            documents.put_text(core.ledger, ROOM, "x" * ROOM_BYTES)
        with core.ledger.transaction(durable=True):
            documents.delete(core.ledger, ROOM)
    except sqlite3.OperationalError as error:
        core.setbacks.failed(CALLS, error)
    else:
        core.setbacks.over(CALLS)
        log.info("the ledger can be written again")
