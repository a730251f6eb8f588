"""Suspend: once training has stopped, the ledger itself goes to the object store.

A checkpoint's snapshot is as old as the checkpoint; this one also has the groups admitted since
and the verdicts of a half-done evaluation, so that a resumed job repeats nothing.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sea_data import urls
from sea_runtime.coordinator import snapshot, trainers
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.ledger import progress

log = logging.getLogger(__name__)

FOLDER, NOTE = "ledger", "drained.json"


async def save(core: Coordinator) -> None:
    """Writes the ledger once for every drain; only then the job counts as drained."""
    if core.drain_saved == core.desired.digest or not trainers.drained(core):
        return
    digest, root = core.desired.digest, urls.join(core.desired.run_url, FOLDER)
    note = {"checkpoint": newest(core), "stageIndex": core.desired.stage_index}
    url = urls.join(root, snapshot.FILE)
    taken = await asyncio.to_thread(snapshot.upload, Path(core.ledger_file), core.store, url)
    body = json.dumps({**note, "ledger": taken.model_dump()}).encode()
    await asyncio.to_thread(core.store.put, urls.join(root, NOTE), body)
    if core.desired.digest == digest:
        core.drain_saved = digest
        log.info("drained: the ledger (%d bytes) lies at %s", taken.size, url)


def newest(core: Coordinator) -> list[Any] | None:
    """Stage and step of the job's newest checkpoint."""
    row = progress.newest_checkpoint(core.ledger)
    return None if row is None else [row["stage"], row["step"]]


def applies(note: Mapping[str, Any] | None, checkpoint: list[Any] | None) -> bool:
    """Whether nothing was committed since the note was written: then its ledger is the newest.

    `checkpoint` is stage and step of the job's newest one, None where there is none.
    """
    return note is not None and note["checkpoint"] == checkpoint
