"""What must be right before a stage starts: the data of all stages, and the base models."""

import asyncio
import logging

from sea_api.v1alpha1.stages import StageType
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import Problem, StagePhase
from sea_runtime.coordinator import basemodel, program
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.data import check
from sea_runtime.coordinator.data.problems import DataProblem
from sea_runtime.coordinator.ledger import stages

log = logging.getLogger(__name__)

LOOK_S = 1.0
RECHECK_S = 10.0


async def look(core: Coordinator) -> None:
    """Checks data and prepares models where something changed or was wrong."""
    if core.adopted is not None:
        digest = check.digest(core.adopted, made(core))
        recheck = core.clock() - core.data_problem_at >= RECHECK_S
        if core.data_digest != digest or (core.problem is not None and recheck):
            await _check(core, core.adopted, digest)
        elif core.problem is None and _may_prepare(core):
            await _prepare(core, core.adopted)
    await core.bells.runner.wait(LOOK_S)


def made(core: Coordinator) -> frozenset[str]:
    """Synthesis stages whose data lie in the store."""
    return frozenset(
        stage.name
        for stage in core.desired.spec.stages
        if stage.type == StageType.SYNTHESIS
        and stages.phase(core.ledger, stage.name) == StagePhase.COMPLETE
    )


def _may_prepare(core: Coordinator) -> bool:
    """The tiny model's tokenizer is fitted to the dialogues: it waits for those being made."""
    if len(core.models) == len(program.STREAMS):
        return False
    spec, stage = core.desired.spec, core.stage
    tiny = any(program.model_source(spec, s) == basemodel.TINY for s in program.STREAMS)
    synthesis = stage is not None and stage.type == StageType.SYNTHESIS
    return not (tiny and synthesis and stage is not None and stage.name not in made(core))


async def _check(core: Coordinator, desired: CoordinatorSpec, digest: str) -> None:
    try:
        core.data = await asyncio.to_thread(check.check, core.store, desired, made(core))
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


async def _prepare(core: Coordinator, desired: CoordinatorSpec) -> None:
    """Raises DataProblem, which stays told until an attempt ends well."""
    for stream in program.STREAMS:
        core.models[stream] = await asyncio.to_thread(
            basemodel.prepare, core.store, desired, stream
        )
    core.bells.all()
