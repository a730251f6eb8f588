"""Synthesis stages: a process beside the coordinator makes the data, the store gets them.

The process's journals lie on the pod's volume and follow into the store (`synthesis.archive`), so
a coordinator that is killed goes on where it was, on an empty volume too. `DONE.json` is written
last: where it exists, the stage's data are complete and nothing is made again.
"""

import asyncio
import json
import logging
from pathlib import Path

from sea_api.v1alpha1.domains import bare, file_name
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.stages import Stage, StageType, SynthesisStage
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import Problem
from sea_data import urls
from sea_data.synthesis import dataset
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.data import sources
from sea_runtime.coordinator.ledger import stages
from sea_runtime.coordinator.making import Making
from sea_runtime.coordinator.synthesis_process import Order
from sea_runtime.store.folders import download_folder
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)

DONE = "DONE.json"
TICK_S = 1.0


def block(stage: Stage) -> SynthesisStage:
    return stage.synthesis or SynthesisStage()


def planned(spec: Spec, stage: Stage) -> int:
    """Tasks that the stage is to make."""
    return block(stage).tasks_per_domain * len(spec.domains)


async def tick(core: Coordinator) -> None:
    """One look: the running stage's process is started, minded, and its data are taken."""
    stage = _wanted(core)
    if core.making is not None and (stage is None or core.making.task != _task(core, stage)):
        await stop(core)
    if stage is not None:
        await (_begin(core, stage) if core.making is None else _mind(core, stage, core.making))
    else:
        core.making_problem, core.making_given_up = None, ""
    await core.bells.runner.wait(TICK_S)


async def stop(core: Coordinator) -> None:
    """Ends the process, if there is one; its journals stay."""
    making, core.making = core.making, None
    if making is not None:
        await making.stop()


def _wanted(core: Coordinator) -> Stage | None:
    """The Synthesis stage that should be at work now."""
    if core.adopted is None or core.desired.drain:
        return None
    stage = core.running_stage
    return stage if stage is not None and stage.type == StageType.SYNTHESIS else None


def _task(core: Coordinator, stage: Stage) -> str:
    """What the spec asks of the stage: an edit of it has the process started anew."""
    return f"{stage.name} {block(stage).model_dump_json()} {core.desired.spec.domains}"


async def _begin(core: Coordinator, stage: Stage) -> None:
    task = _task(core, stage)
    if core.clock() < core.making_again_at or core.making_given_up == task:
        return
    if core.making_given_up:
        core.making_problem, core.making_given_up = None, ""
    if await asyncio.to_thread(core.store.exists, _done_url(core.desired, stage)):
        _finish(core, stage)
        return
    folder = core.settings.data_dir / "synthesis" / stage.name
    order = await asyncio.to_thread(_order, core.store, core.desired, stage, folder)
    core.making = await Making.start(stage.name, task, order)
    log.info("stage '%s' makes %d tasks", stage.name, planned(core.desired.spec, stage))


async def _mind(core: Coordinator, stage: Stage, making: Making) -> None:
    _book(core, stage, making.total)
    if making.advanced:
        core.making_problem = None
    if not making.ended:
        return
    core.making = None
    if making.problem:
        _failed(core, stage, making)
        return
    desired = core.desired
    folder = core.settings.data_dir / "synthesis" / stage.name
    await asyncio.to_thread(_upload, core.store, desired, stage, folder)
    _finish(core, stage)


def _failed(core: Coordinator, stage: Stage, making: Making) -> None:
    """Tells why; a process that would end the same way again waits for the job to be edited."""
    if making.final:
        core.making_given_up = making.task
        then = "It is not tried again until the stage is edited."
    else:
        core.making_again_at = core.clock() + core.settings.synthesis_retry_s
        then = "It is tried again."
    message = f"Stage '{stage.name}' can't make its data: {making.problem} {then}"
    log.error("%s", message)
    core.making_problem = Problem(reason="SynthesisFailed", message=message)


def _book(core: Coordinator, stage: Stage, made: int) -> None:
    """Progress for the operator; kept in the ledger, so that it never seems to go back."""
    with core.ledger.transaction():
        core.ledger.run(
            "UPDATE stages SET cursor = MAX(cursor, ?), planned = ? WHERE name = ?",
            made,
            planned(core.desired.spec, stage),
            stage.name,
        )


def progress(core: Coordinator, stage: Stage) -> tuple[int, int]:
    """Tasks made, and tasks to make."""
    made = core.ledger.value("SELECT cursor FROM stages WHERE name = ?", stage.name) or 0
    return made, planned(core.desired.spec, stage)


def _finish(core: Coordinator, stage: Stage) -> None:
    core.making_problem = None
    with core.ledger.transaction(durable=True):
        _book(core, stage, planned(core.desired.spec, stage))
        stages.finish(core.ledger, stage.name, core.wall())
    core.bells.all()


def _order(store: ObjectStore, desired: CoordinatorSpec, stage: Stage, folder: Path) -> Order:
    """What the process is told; a user's own databases are brought to the volume. Blocking."""
    given = block(stage)
    data: dict[str, str] = {}
    for domain in desired.spec.domains if given.databases else []:
        source = _given(store, given.databases or "", domain)
        if source is not None:
            target = folder / "given" / file_name(domain)
            target.mkdir(parents=True, exist_ok=True)
            download_folder(store, source, target)
            data[domain] = str(target)
    return Order(
        folder=str(folder / "made"),
        domains=list(desired.spec.domains),
        count=given.tasks_per_domain,
        seed=given.seed,
        rounds=given.rounds,
        plans=given.plans,
        worlds=given.worlds,
        size=given.world_size.lower(),
        data=data,
        url=given.endpoint.url if given.endpoint else "",
        model=given.endpoint.model if given.endpoint else "",
        concurrency=given.endpoint.concurrency if given.endpoint else 1,
        archive=urls.join(desired.run_url, "stages", stage.name, "journal"),
    )


def _given(store: ObjectStore, databases: str, domain: str) -> str | None:
    """The user's folder for a domain: by its full name, or by its bare one. Blocking."""
    names = dict.fromkeys([file_name(domain), bare(domain)])
    folders = (urls.folder(urls.join(databases, name)) for name in names)
    return next((folder for folder in folders if store.list(folder)), None)


def _upload(store: ObjectStore, desired: CoordinatorSpec, stage: Stage, folder: Path) -> None:
    """All data sets, then `DONE.json`. Blocking; safe to repeat."""
    reports = {}
    for domain in desired.spec.domains:
        made = folder / "made" / file_name(domain)
        target = sources.made_folder(desired.run_url, stage.name, domain)
        for path in sorted(made.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                store.upload_file(path, urls.join(target, path.relative_to(made).as_posix()))
        reports[domain] = json.loads((made / dataset.REPORT).read_bytes())
    store.put(_done_url(desired, stage), json.dumps(reports).encode())


def _done_url(desired: CoordinatorSpec, stage: Stage) -> str:
    return urls.join(sources.made_folder(desired.run_url, stage.name), DONE)
