"""How the coordinator gets its ledger: its own after a kill, a checkpoint's on an empty volume."""

import asyncio
import logging
import shutil
from pathlib import Path

from sea_api.wire.desired import Desired
from sea_api.wire.state import Problem
from sea_workloads.coordinator import adopt, evaluation, restore, weights
from sea_workloads.coordinator.core import DESIRED, Coordinator
from sea_workloads.coordinator.errors import LedgerError
from sea_workloads.coordinator.ledger import documents, registry
from sea_workloads.coordinator.ledger.database import Database

log = logging.getLogger(__name__)

AGAIN_S = 10.0


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
    await core.bells.runner.wait(60.0)


def _take_over(core: Coordinator, db: Database) -> None:
    """A coordinator that was killed goes on with its own ledger."""
    core.adopted = documents.get(db, DESIRED, Desired)
    if core.adopted is not None:
        log.info("ledger of %s opened, stage %d", core.adopted.job, core.adopted.stage_index)
        core.bells.all()


async def _restore(core: Coordinator, empty: Database, desired: Desired) -> None:
    target = Path(core.ledger_file)
    part = target.with_suffix(".part")
    try:
        source = await asyncio.to_thread(restore.fetch, core.store, desired, part)
    except LedgerError as error:
        core.problem = Problem(reason="LedgerSnapshotMissing", message=str(error))
        await asyncio.sleep(AGAIN_S)
        core.bells.runner.ring()
        return
    anchors = await asyncio.to_thread(weights.read_anchors, core, desired.run_url)
    evaluations = await asyncio.to_thread(restore.read_evaluations, core.store, desired)
    db = empty
    if source is not None:
        log.warning("the volume was empty: ledger restored from %s", source)
        empty.close()
        db = core.db = restore.replace(target, part)
    with db.transaction(durable=True):
        for anchor in anchors:
            registry.add_anchor(db, anchor, core.wall())
        for stage, results in evaluations.items():
            evaluation.keep(db, stage, results)
        restore.begin(db)
        before = documents.get(db, DESIRED, Desired)
        generation = max(desired.generation, before.generation if before else 0)
        documents.put(db, DESIRED, desired.model_copy(update={"generation": generation}))
    core.problem = None
    core.adopted = before
    adopt.adopt(core, db, desired)
