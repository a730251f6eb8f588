"""Background work: opens the ledger, checks data, prepares models, starts and ends stages.

Each loop is a level-triggered pass: it looks at the ledger and does what is missing, so that a
kill between any two steps costs nothing but the repetition.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from sea_api.v1alpha1.stages import StageType
from sea_api.wire.desired import Desired
from sea_api.wire.state import Problem, StagePhase
from sea_workloads.coordinator import (
    adopt,
    basemodel,
    evaluation,
    leases,
    program,
    reports,
    restore,
    weights,
)
from sea_workloads.coordinator.core import DESIRED, Coordinator
from sea_workloads.coordinator.data import check
from sea_workloads.coordinator.data.problems import DataProblem
from sea_workloads.coordinator.errors import LedgerError
from sea_workloads.coordinator.ledger import documents, registry, stages
from sea_workloads.coordinator.ledger.database import Database
from sea_workloads.store.errors import StoreError

log = logging.getLogger(__name__)

TICK_S = 1.0
RECHECK_S = 10.0
PROBE_S = 5.0
AFTER_ERROR_S = 3.0


async def forever(name: str, step: Callable[[], Awaitable[None]]) -> None:
    """Repeats a pass; one that breaks is logged and tried again."""
    while True:
        try:
            await step()
        except asyncio.CancelledError:
            raise
        except StoreError as error:
            log.warning("%s: %s", name, error)
            await asyncio.sleep(AFTER_ERROR_S)
        except Exception:
            log.exception("%s broke off; it starts again", name)
            await asyncio.sleep(AFTER_ERROR_S)


def start(core: Coordinator) -> list[asyncio.Task[None]]:
    """All loops as tasks; cancel them to stop."""
    loops: dict[str, Callable[[], Awaitable[None]]] = {
        "ledger": lambda: open_ledger(core),
        "data": lambda: look_at_data(core),
        "stages": lambda: tick(core),
        "store": lambda: probe(core),
    }
    return [asyncio.create_task(forever(name, step), name=name) for name, step in loops.items()]


async def open_ledger(core: Coordinator) -> None:
    """Opens the volume's ledger, or the newest checkpoint's where the volume is empty."""
    if core.adopted is None:
        if core.db is None:
            core.settings.data_dir.mkdir(parents=True, exist_ok=True)
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
        await asyncio.sleep(RECHECK_S)
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


async def look_at_data(core: Coordinator) -> None:
    """Checks data and prepares models where something changed or was wrong."""
    if core.adopted is not None:
        spec, digest = core.adopted.spec, check.digest(core.adopted.spec)
        recheck = core.clock() - core.data_problem_at >= RECHECK_S
        if core.data_digest != digest or (core.problem is not None and recheck):
            await _check(core, core.adopted, digest)
        elif core.problem is None and len(core.models) < len(program.STREAMS):
            await _prepare(core, core.adopted)
        del spec
    await core.bells.runner.wait(TICK_S)


async def _check(core: Coordinator, desired: Desired, digest: str) -> None:
    try:
        core.data = await asyncio.to_thread(check.check, core.store, desired.spec)
    except DataProblem as problem:
        _problem(core, problem.problem)
    else:
        core.problem = None
        log.info("data checked: %s rows skipped", core.data.skipped or "no")
    core.data_digest = digest
    core.bells.all()


def _problem(core: Coordinator, problem: Problem) -> None:
    if core.problem != problem:
        log.error("%s: %s", problem.reason, problem.message)
    core.problem, core.data_problem_at = problem, core.clock()


async def _prepare(core: Coordinator, desired: Desired) -> None:
    try:
        for stream in program.STREAMS:
            core.models[stream] = await asyncio.to_thread(
                basemodel.prepare, core.store, desired, stream
            )
    except DataProblem as problem:
        _problem(core, problem.problem)
    core.bells.all()


async def tick(core: Coordinator) -> None:
    """One look at the running stage."""
    if core.adopted is not None:
        _start_stage(core)
        _expire(core)
        _close_evaluation(core)
        await _finish_stage(core)
    await core.bells.runner.wait(TICK_S)


def _start_stage(core: Coordinator) -> None:
    stage = core.stage
    if stage is None or core.problem is not None or core.data is None:
        return
    if len(core.models) < len(program.STREAMS):
        return
    with core.ledger.transaction(durable=True):
        if not stages.start(core.ledger, stage.name, core.wall()):
            return
        if stage.type == StageType.EVALUATION:
            rows = core.data.rows(check.task_files(core.desired.spec, stage))
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
    found = evaluation.results(stage.name, evaluation.trials_by_domain(rows))
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


async def probe(core: Coordinator) -> None:
    """Keeps `/readyz` honest about the object store."""
    core.store_reachable = await asyncio.to_thread(_reachable, core)
    await asyncio.sleep(PROBE_S)


def _reachable(core: Coordinator) -> bool:
    if core.adopted is None:
        return True
    try:
        core.probe.exists(core.adopted.run_url.rstrip("/") + "/base/READY.json")
    except StoreError as error:
        log.warning("the object store does not answer: %s", error)
        return False
    return True
