"""How the coordinator gets its ledger: its own after a kill, a checkpoint's on an empty volume."""

import asyncio
import logging
import shutil
from pathlib import Path

from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_runtime.coordinator import adopt, evaluation, restore, weights
from sea_runtime.coordinator.core import DESIRED, Coordinator
from sea_runtime.coordinator.errors import LedgerError
from sea_runtime.coordinator.ledger import documents, registry
from sea_runtime.coordinator.ledger.database import Database

log = logging.getLogger(__name__)

PART = "ledger"
"""Name of this work among the coordinator's background loops."""


async def open_ledger(core: Coordinator) -> None:
    """Opens the volume's ledger, or the newest checkpoint's where the volume is empty."""
    if core.adopted is None:
        if core.db is None:
            core.settings.data_dir.mkdir(parents=True, exist_ok=True)
            for leftover in core.settings.data_dir.glob("snapshot-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            core.db = Database(Path(core.ledger_file))
        if restore.is_initialised(core.db):
            _take_over(core, core.db)
        elif core.wanted is not None:
            await _restore(core, core.db, core.wanted)
    if core.wanted is not None and core.adopted is not None and core.db is not None:
        wanted, core.wanted = core.wanted, None
        adopt.adopt(core, core.db, wanted)
    core.setbacks.over(PART)
    await core.bells.runner.wait(60.0)


def _take_over(core: Coordinator, db: Database) -> None:
    """A coordinator that was killed goes on with its own ledger."""
    core.adopted = documents.get(db, DESIRED, CoordinatorSpec)
    if core.adopted is not None:
        log.info("ledger of %s opened, stage %d", core.adopted.job, core.adopted.stage_index)
        core.bells.all()


async def _restore(core: Coordinator, empty: Database, desired: CoordinatorSpec) -> None:
    target = Path(core.ledger_file)
    part = target.with_suffix(".part")
    source, checkpoint = await asyncio.to_thread(restore.fetch, core.store, desired, part)
    anchors = await asyncio.to_thread(weights.read_anchors, core, desired.run_url)
    evaluations = await asyncio.to_thread(restore.read_evaluations, core.store, desired)
    db = empty
    if source:
        log.warning("the ledger is restored from %s", source)
        db = core.db = _replaced(empty, target, part, source)
    with db.transaction(durable=True):
        for anchor in anchors:
            registry.add_anchor(db, anchor, core.wall())
        for stage, results in evaluations.items():
            evaluation.keep(db, stage, results)
        restore.begin(db)
        before = documents.get(db, DESIRED, CoordinatorSpec)
        attempt = max(desired.attempt, before.attempt if before else 0)
        if checkpoint is not None:
            restore.keep_checkpoint(db, checkpoint, attempt)
        documents.put(db, DESIRED, desired.model_copy(update={"attempt": attempt}))
    core.adopted = before
    adopt.adopt(core, db, desired)
    core.bells.all()


def _replaced(empty: Database, target: Path, part: Path, source: str) -> Database:
    """The ledger that was downloaded from `source`; where it is damaged, the empty one stays."""
    try:
        restore.require_sound(part)
    except LedgerError as error:
        raise LedgerError(f"{source} can't be the ledger. {error}") from error
    empty.close()
    return restore.replace(target, part)


async def catch_up(core: Coordinator, stage: str, fixed: int) -> bool:
    """Restores again where a checkpoint was committed while the ledger was being restored.

    A trainer that outlived the volume goes on committing; the ledger may then know fewer batches
    (`fixed`) than the newest checkpoint contains.

    Returns:
        False where no checkpoint is newer: the trainer itself has to go back.
    """
    desired = core.desired
    newest = await asyncio.to_thread(restore.newest_checkpoint, core.store, desired)
    if newest is None or newest.stage != stage or newest.step <= fixed:
        return False
    if core.caught_up == (stage, newest.step):
        return False
    core.caught_up = (stage, newest.step)
    if core.adopted is not None and core.db is not None:
        log.warning("the checkpoint of step %d is newer than the ledger", newest.step)
        core.wanted, core.adopted = core.adopted, None
        with core.db.transaction(durable=True):
            documents.delete(core.db, restore.INITIALISED)
        core.bells.runner.ring()
    return True
