"""The running stage, looked at every second: started, its leases minded, ended, reported."""

import asyncio
import logging

from sea_api.v1alpha1.stages import StageType
from sea_api.wire.state import StagePhase
from sea_runtime.coordinator import (
    draining,
    evaluation,
    leases,
    preparing,
    program,
    reports,
    troubles,
    unheard,
    volume,
)
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.data import check, sources
from sea_runtime.coordinator.ledger import stages

log = logging.getLogger(__name__)

TICK_S = 1.0


async def tick(core: Coordinator) -> None:
    """One look at the running stage."""
    if core.adopted is not None:
        volume.look(core)
        _start_stage(core)
        _expire(core)
        core.trouble = troubles.look(core)
        _close_evaluation(core)
        await _finish_stage(core)
        await unheard.look(core)
        await draining.save(core)
    await core.bells.runner.wait(TICK_S)


def _start_stage(core: Coordinator) -> None:
    stage = core.stage
    if stage is None or core.problem is not None or core.data is None:
        return
    if core.data_digest != check.digest(core.desired, preparing.made(core)):
        return
    if stage.type != StageType.SYNTHESIS and len(core.models) < len(program.STREAMS):
        return
    with core.ledger.transaction(durable=True):
        if not stages.start(core.ledger, stage.name, core.wall()):
            return
        if stage.type == StageType.EVALUATION:
            rows = core.data.rows(sources.task_files(core.desired, stage))
            evaluation.issue(core.ledger, stage, rows)
    log.info("stage '%s' (%s) runs", stage.name, stage.type)
    core.bells.all()


def _expire(core: Coordinator) -> None:
    expired = leases.expire(core.ledger, core.members.gone, core.wall())
    if expired:
        log.warning("%d leases of workers that are gone are issued again", expired)
        core.bells.leases.ring()


def _close_evaluation(core: Coordinator) -> None:
    stage = core.running_stage
    if stage is None or stage.type != StageType.EVALUATION:
        return
    ended, planned = evaluation.progress(core.ledger, stage.name)
    if planned == 0 or ended < planned:
        return
    rows = evaluation.episodes(core.ledger, stage.name)
    found = evaluation.results(stage.name, rows)
    if not found:
        troubles.try_again(core, stage)
        return
    with core.ledger.transaction(durable=True):
        evaluation.keep(core.ledger, stage.name, found)
        stages.finish(core.ledger, stage.name, core.wall())
    core.bells.all()


async def _finish_stage(core: Coordinator) -> None:
    """Running but ended: reports first, then Complete, after which the operator may go on."""
    stage = core.stage
    if stage is None or stages.phase(core.ledger, stage.name) != StagePhase.RUNNING:
        return
    if stages.finished_at(core.ledger, stage.name) is None:
        return
    await asyncio.to_thread(reports.upload, core, reports.collect(core, stage))
    stages.complete(core.ledger, stage.name, core.wall())
    log.info("stage '%s' is complete", stage.name)
    core.bells.all()
