"""Synthesis stages: a process next to the coordinator makes the data, the store gets it.

The process's journals are kept on the pod's volume and copied to the store
(`sea_data.synthesis.journal_archive`), so a coordinator that is killed goes on where it was, on an
empty volume too. `DONE.json` is written last: if it exists, the stage's data is complete and
nothing is made again.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path

from sea_api.v1alpha1.domains import bare, file_name
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.stages import Stage, StageType
from sea_api.v1alpha1.synthesis_stage import SynthesisStage
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import Problem, Severity
from sea_data import urls
from sea_data.synthesis import dataset
from sea_runtime.coordinator import stage_plan
from sea_runtime.coordinator.background import Notifiers
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import stages
from sea_runtime.coordinator.ledger.database import Database, Ledger
from sea_runtime.coordinator.problems import Problems, Source
from sea_runtime.coordinator.synthesis_process import Order, SynthesisProcess
from sea_runtime.store.folders import download_folder
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)

DONE = "DONE.json"
TICK_SECONDS = 1.0


def block(stage: Stage) -> SynthesisStage:
    return stage.synthesis or SynthesisStage()


def planned(spec: Spec, stage: Stage) -> int:
    """Tasks that the stage has to make."""
    return block(stage).tasks_per_domain * len(spec.domains)


def progress(db: Database, spec: Spec, stage: Stage) -> tuple[int, int]:
    """Tasks made, and tasks to make."""
    return stages.made(db, stage.name), planned(spec, stage)


class Synthesis:
    """Runs the process of the running Synthesis stage.

    Args:
        folder: on the pod's volume; the process works in it.
        retry_seconds: pause after a failure.
        wall: unix seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        store: ObjectStore,
        problems: Problems,
        notifiers: Notifiers,
        folder: Path,
        retry_seconds: float,
        wall: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._job, self._ledger, self._store = job, ledger, store
        self._problems, self._notifiers = problems, notifiers
        self._folder, self._retry_seconds = folder, retry_seconds
        self._wall, self._clock = wall, clock
        self._process: SynthesisProcess | None = None
        self._retry_at = 0.0
        """Monotonic seconds before which a failed process isn't started again."""
        self._given_up = ""
        """Request that failed permanently; retried only after an edit."""

    async def look(self) -> None:
        """One pass: the running stage's process is started and watched, its data is stored."""
        stage, process = self._wanted(), self._process
        # Stopped before another begins: two processes would write to the same journals.
        if process is not None and (stage is None or process.request != self._request(stage)):
            await self.stop()
            process = None
        if stage is None:
            # Also when the stage is left or the job drains: a later start is a new attempt.
            self._given_up = ""
            self._problems.report(Source.SYNTHESIS, None)
        elif process is None:
            await self._begin(stage)
        else:
            await self._watch(stage, process)
        await self._notifiers.background.wait(TICK_SECONDS)

    async def stop(self) -> None:
        """Ends the process, if there is one; its journals stay."""
        process, self._process = self._process, None
        if process is not None:
            await process.stop()

    def _wanted(self) -> Stage | None:
        """The Synthesis stage that should be at work now."""
        if self._job.known is None or self._job.desired.drain:
            return None
        stage = self._job.running_stage
        return stage if stage is not None and stage.type == StageType.SYNTHESIS else None

    def _request(self, stage: Stage) -> str:
        """What the spec asks of the stage: after an edit of it the process starts again."""
        return f"{stage.name} {block(stage).model_dump_json()} {self._job.desired.spec.domains}"

    def _work_folder(self, stage: Stage) -> Path:
        return self._folder / stage.name

    async def _begin(self, stage: Stage) -> None:
        request, desired = self._request(stage), self._job.desired
        if self._clock() < self._retry_at or self._given_up == request:
            return
        if self._given_up:
            self._given_up = ""
            self._problems.report(Source.SYNTHESIS, None)
        # Asked before every start: a kill after DONE.json, or a restored
        # ledger, must not make it again.
        if await asyncio.to_thread(self._store.exists, _done_url(desired, stage)):
            self._finish(stage)
            return
        folder = self._work_folder(stage)
        order = await asyncio.to_thread(_order, self._store, desired, stage, folder)
        # With the request of the spec that the order was made from: an edit during the awaits
        # differs from it, and the next pass starts over.
        self._process = await SynthesisProcess.start(stage.name, request, order)
        log.info("stage '%s' makes %d tasks", stage.name, planned(desired.spec, stage))

    async def _watch(self, stage: Stage, process: SynthesisProcess) -> None:
        self._record(stage, process.total)
        if process.advanced:
            self._problems.report(Source.SYNTHESIS, None)
        if not process.ended:
            return
        # Before the upload: if that fails, the next pass starts a process,
        # which finds everything made.
        self._process = None
        if process.problem:
            self._fail(stage, process)
            return
        desired, folder = self._job.desired, self._work_folder(stage)
        await asyncio.to_thread(_upload, self._store, desired, stage, folder)
        # After DONE.json: a kill in between finds it and finishes without making anything.
        self._finish(stage)

    def _fail(self, stage: Stage, process: SynthesisProcess) -> None:
        """Reports why; a process that would end the same way again waits for an edit."""
        if process.permanent:
            self._given_up = process.request
            then = "It is not tried again until the stage is edited."
        else:
            self._retry_at = self._clock() + self._retry_seconds
            then = "It is tried again."
        problem = Problem(
            reason="SynthesisFailed",
            message=f"Stage '{stage.name}' can't make its data: {process.problem} {then}",
            severity=Severity.ERROR if process.permanent else Severity.WARNING,
        )
        self._problems.report(Source.SYNTHESIS, problem)

    def _record(self, stage: Stage, made: int) -> None:
        """Progress for the operator; kept in the ledger, so that it never seems to go back."""
        db = self._ledger.db
        with db.transaction():
            stages.advance(db, stage.name, made, planned(self._job.desired.spec, stage))

    def _finish(self, stage: Stage) -> None:
        self._problems.report(Source.SYNTHESIS, None)
        db = self._ledger.db
        # `_record` joins this transaction: all tasks made and the end of the stage appear together.
        with db.transaction(durable=True):
            self._record(stage, planned(self._job.desired.spec, stage))
            stages.finish(db, stage.name, self._wall())
        self._notifiers.notify_all()


def _order(store: ObjectStore, desired: CoordinatorSpec, stage: Stage, folder: Path) -> Order:
    """What the process has to make; a user's own databases are copied to the volume. Blocking."""
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
        target = stage_plan.made_folder(desired.run_url, stage.name, domain)
        for path in sorted(made.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                store.upload_file(path, urls.join(target, path.relative_to(made).as_posix()))
        reports[domain] = json.loads((made / dataset.REPORT).read_bytes())
    # After every upload: DONE.json vouches for all domains.
    store.put(_done_url(desired, stage), json.dumps(reports).encode())


def _done_url(desired: CoordinatorSpec, stage: Stage) -> str:
    return urls.join(stage_plan.made_folder(desired.run_url, stage.name), DONE)
