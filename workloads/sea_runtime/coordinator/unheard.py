"""A drain: a checkpoint that was committed while nobody could tell the coordinator of it.

Rank 0 writes `head.json` first and tells the coordinator then; if it dies in between, the ledger
waits for a commit that has happened. `progressing.py` asks here before it saves the drained ledger.
"""

import asyncio
import logging

from sea_runtime.coordinator import restore, trainers
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.ledger import progress

log = logging.getLogger(__name__)


async def look(core: Coordinator) -> None:
    """Reads `head.json` once for every drain whose processes have gone with steps uncommitted.

    Raises:
        StoreError: the object store can't be read; the caller comes again.
    """
    desired, stage = core.desired, core.running_stage
    if core.head_read == desired.digest or not trainers.waits_for_a_commit(core):
        return
    newest = await asyncio.to_thread(restore.newest_checkpoint, core.store, desired)
    if core.desired.digest != desired.digest or stage is None:
        return
    core.head_read = desired.digest
    if newest is not None and newest.stage == stage.name and newest.step > _known(core, newest):
        with core.ledger.transaction(durable=True):
            restore.keep_checkpoint(core.ledger, newest, desired.attempt)
        log.warning("step %d was committed, but nobody had told of it", newest.step)
    if trainers.waits_for_a_commit(core):
        log.error(
            "the trainer has ended with steps that no checkpoint has; stage '%s' goes on from step "
            "%d",
            stage.name,
            newest.step if newest is not None and newest.stage == stage.name else 0,
        )


def _known(core: Coordinator, newest: restore.Checkpoint) -> int:
    row = progress.newest_checkpoint(core.ledger, newest.stage)
    return int(row["step"]) if row else 0
