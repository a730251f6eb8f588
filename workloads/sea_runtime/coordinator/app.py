"""The coordinator, wired: components that own their state, routes that serve them, their loops.

    Job (the spec in force) <- Membership, Problems
      <- Rendezvous (attempts), WeightRegistry, Preconditions (data, base models)
      <- Scheduler (gate, leases, groups), Training (tasks, batches, progress), Edits
      <- Recovery (Bootstrap, Snapshots, CommitRecovery, Drain), RunFolder, Reports
      <- StageController, Synthesis, StateReport

A component takes what it needs by its constructor and does not know who wires it. All run on one
event loop, and a change of the ledger has no `await` in it.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from sea_api.contract import COORDINATOR_PORT, Env
from sea_runtime.coordinator import routes, trainer_routes
from sea_runtime.coordinator.background import LoopClock, Notifiers, StoreProbe, Upkeep, forever
from sea_runtime.coordinator.bootstrap import Bootstrap
from sea_runtime.coordinator.container_logs import ContainerLogs
from sea_runtime.coordinator.drain import CommitRecovery, Drain
from sea_runtime.coordinator.edits import Edits
from sea_runtime.coordinator.http import BodyBudget, durable, failures, guard
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import lineage
from sea_runtime.coordinator.ledger.database import Ledger
from sea_runtime.coordinator.ledger.durability import Durability
from sea_runtime.coordinator.ledger.trajectories import Files
from sea_runtime.coordinator.membership import Heartbeats, Membership
from sea_runtime.coordinator.preconditions import Preconditions
from sea_runtime.coordinator.problems import Problems, Source
from sea_runtime.coordinator.rendezvous import Rendezvous
from sea_runtime.coordinator.reports import Reports
from sea_runtime.coordinator.rollback import Rollbacks
from sea_runtime.coordinator.run_folder import RunFolder
from sea_runtime.coordinator.scheduler import Scheduler
from sea_runtime.coordinator.snapshot import Snapshots
from sea_runtime.coordinator.stage_controller import StageController
from sea_runtime.coordinator.state import StateReport
from sea_runtime.coordinator.synthesis import Synthesis
from sea_runtime.coordinator.training import Training
from sea_runtime.coordinator.weights import WeightRegistry
from sea_runtime.errors import RuntimeFailure
from sea_runtime.store.s3 import ObjectStore

MAX_BODY_BYTES = 512 << 20
"""A trajectory of a million tokens with its transcript stays far below."""
RESULT_BYTES = 512 << 20
"""Budget of results in memory at one time; decoding one takes as much again."""


class SettingsError(RuntimeFailure):
    """The pod was not started by the operator, or by a broken one."""


@dataclass(frozen=True)
class Settings:
    job: str
    namespace: str
    uid: str
    token: str
    host: str
    data_dir: Path
    port: int = COORDINATOR_PORT
    synthesis_retry_s: float = 15.0
    """Pause before a synthesis that failed is tried again."""


def from_environment(env: Mapping[str, str]) -> Settings:
    """Raises SettingsError naming the variables that are missing."""
    names = (Env.JOB, Env.NAMESPACE, Env.JOB_UID, Env.TOKEN, Env.POD_IP, Env.DATA_DIR)
    missing = [name for name in names if not env.get(name)]
    if missing:
        raise SettingsError(
            f"The coordinator needs {', '.join(missing)} in its environment; the operator sets "
            "them on the pods it creates."
        )
    return Settings(
        job=env[Env.JOB],
        namespace=env[Env.NAMESPACE],
        uid=env[Env.JOB_UID],
        token=env[Env.TOKEN],
        host=env[Env.POD_IP],
        data_dir=Path(env[Env.DATA_DIR]),
        port=int(env.get("SEA_PORT") or COORDINATOR_PORT),
        synthesis_retry_s=float(env.get("SEA_SYNTHESIS_RETRY_S") or 15.0),
    )


class Components:
    """The parts of one coordinator, wired; nothing here has state of its own.

    Args:
        store: the job's object store, with retries.
        probe: the same store without retries: asked whether it answers.
        wall: unix seconds, for what is written down.
        clock: monotonic seconds, for what expires.
    """

    def __init__(
        self,
        settings: Settings,
        store: ObjectStore,
        probe: ObjectStore,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._wall, self._clock = store, wall, clock
        self.ledger, self.problems, self.notifiers = Ledger(), Problems(), Notifiers()
        self._file = settings.data_dir / "ledger.sqlite"
        self.files, self.durability = Files(self._file), Durability()
        self.member_clock = LoopClock(clock)
        self.job = Job(settings.job, settings.uid, self.ledger, wall)
        # In the order of the arrows above: each takes what is before it.
        self._wire_pods()
        self._wire_work()
        self._wire_recovery(settings, probe)
        self._wire_stages(settings)
        self._follow_spec()

    def _wire_pods(self) -> None:
        job, ledger, store, wall = self.job, self.ledger, self._store, self._wall
        self.membership = membership = Membership(self.member_clock)
        self.rendezvous = Rendezvous(job, ledger, membership, wall)
        self.weights = WeightRegistry(
            job, ledger, store, membership, self.notifiers, wall, self.member_clock
        )
        self.preconditions = Preconditions(
            job, ledger, store, self.problems, self.notifiers, self._clock
        )

    def _wire_work(self) -> None:
        job, ledger, notifiers = self.job, self.ledger, self.notifiers
        self.scheduler = Scheduler(
            job,
            ledger,
            self.membership,
            self.weights,
            self.preconditions,
            notifiers,
            wall=self._wall,
            clock=self._clock,
        )
        self.edits = Edits(job, ledger)
        self.training = Training(
            job,
            ledger,
            self.rendezvous,
            self.preconditions,
            self.edits,
            notifiers,
            self.weights.must_be_stored,
            wall=self._wall,
            clock=self._clock,
        )
        self.heartbeats = Heartbeats(
            job,
            self.membership,
            notifiers,
            expire=self.scheduler.expire,
            answer_trainer=self.rendezvous.answer,
            required=self.weights.required,
            follow_engine=self.weights.follow,
            restarts=lambda stream, beat: lineage.is_left_behind(ledger.db, stream, beat),
        )

    def _wire_recovery(self, settings: Settings, probe: ObjectStore) -> None:
        job, ledger, store, wall = self.job, self.ledger, self._store, self._wall
        self.bootstrap = Bootstrap(job, ledger, self._file, store, self.notifiers, wall)
        self.rollbacks = Rollbacks(job, ledger, store, self.bootstrap, self.notifiers, wall)
        self.snapshots = Snapshots(job, ledger, self.files, store)
        self.commit_recovery = CommitRecovery(job, ledger, store, self.rendezvous)
        namespace = settings.namespace
        self.folder = RunFolder(job, ledger, store, self.membership, namespace, wall, self._clock)
        self.drain = Drain(job, ledger, self.files, store, self.rendezvous, self.folder)
        self.container_logs = ContainerLogs(job, store, os.environ)
        self.probe = StoreProbe(job, probe)
        self.upkeep = Upkeep(ledger, self.files)

    def _wire_stages(self, settings: Settings) -> None:
        job, ledger, notifiers, wall = self.job, self.ledger, self.notifiers, self._wall
        reports = Reports(job, ledger, self._store, self.folder, wall)
        work = (self.scheduler, self.training, self.rendezvous)
        ending = (reports, self.commit_recovery, self.drain)
        self.controller = StageController(
            job,
            ledger,
            *work,
            self.preconditions,
            *ending,
            self.problems,
            notifiers,
            wall,
            self._clock,
        )
        folder, pause = settings.data_dir / "synthesis", settings.synthesis_retry_s
        self.synthesis = Synthesis(
            job, ledger, self._store, self.problems, notifiers, folder, pause, wall, self._clock
        )
        seen = (*work, self.weights, self.preconditions, self.drain, self.edits)
        self.state = StateReport(job, ledger, *seen, self.problems, wall)

    def _follow_spec(self) -> None:
        """What changes with the spec, and what looks again after it."""
        # In the transaction of the spec: a new attempt and its empty world take
        # effect together or not at all.
        self.job.on_write(self.rendezvous.write_spec)
        self.job.on_write(self.bootstrap.write_spec)
        self.job.on_write(self.edits.write_spec)
        forget = (self.commit_recovery.forget, self.drain.forget)
        for listener in (*forget, self.folder.note_spec, self.notifiers.notify_all):
            self.job.on_change(listener)

    def loops(self) -> dict[Source, Callable[[], Awaitable[None]]]:
        """Background passes by the source under which their failures are reported."""
        return {
            Source.LEDGER: self.bootstrap.look,
            Source.VOLUME: self.upkeep.look,
            Source.ROLLBACK: self.rollbacks.look,
            Source.DATA: self.preconditions.look,
            Source.STAGES: self.controller.look,
            Source.STORE: self.probe.look,
            Source.RUN_FOLDER: self.folder.look,
            Source.SYNTHESIS: self.synthesis.look,
        }


def serve(parts: Components, token: str) -> web.Application:
    """The HTTP application; each route gets the component it serves."""
    # aiohttp runs the first middleware outermost: a caller without the token reaches nothing else.
    app = web.Application(
        middlewares=[
            guard(token),
            failures(parts.problems),
            durable(parts.ledger, parts.durability),
        ],
        client_max_size=MAX_BODY_BYTES,
    )
    app[routes.STATE], app[routes.JOB] = parts.state, parts.job
    app[routes.LEDGER], app[routes.PROBE] = parts.ledger, parts.probe
    app[routes.HEARTBEATS], app[routes.PRECONDITIONS] = parts.heartbeats, parts.preconditions
    app[routes.WEIGHTS], app[routes.NOTIFIERS] = parts.weights, parts.notifiers
    app[routes.SCHEDULER], app[routes.TRAINING] = parts.scheduler, parts.training
    app[routes.FILES], app[routes.BODIES] = parts.files, BodyBudget(RESULT_BYTES)
    app[routes.SNAPSHOTS], app[routes.BOOTSTRAP] = parts.snapshots, parts.bootstrap
    app[routes.CONTAINER_LOGS] = parts.container_logs
    app.add_routes([*routes.routes(), *trainer_routes.routes()])
    return app


def with_loops(app: web.Application, parts: Components) -> web.Application:
    """Starts the background loops with the application, and ends them with it."""

    async def background(_: web.Application) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(forever(source, step, parts.problems), name=source.value)
            for source, step in parts.loops().items()
        ]
        tasks.append(asyncio.create_task(parts.member_clock.run(), name="member clock"))
        yield
        for task in tasks:
            task.cancel()
        # The loops first: a pass that still runs could start another synthesis
        # or open the ledger again.
        await asyncio.gather(*tasks, return_exceptions=True)
        await parts.synthesis.stop()
        # Last. aiohttp cleans up after it has ended all handlers, so nothing uses the ledger now.
        parts.ledger.withdraw()

    app.cleanup_ctx.append(background)
    return app
