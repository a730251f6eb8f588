"""The coordinator's state in one place: the ledger, and what is cheaper to remember than to read.

HTTP handlers (`routes`) and background work (`runner`) both act on a `Coordinator`; all of them run
on one event loop, and a change of the ledger has no `await` in it.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sea_api.v1alpha1.stages import Stage
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import Problem, StagePhase
from sea_runtime.coordinator import program
from sea_runtime.coordinator.bells import Bell
from sea_runtime.coordinator.data.check import CheckedData
from sea_runtime.coordinator.errors import NotReadyError, RefusedError, StaleError
from sea_runtime.coordinator.ledger import batches, documents, registry, stages
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.making import Making
from sea_runtime.coordinator.membership import Members
from sea_runtime.coordinator.rates import Rate
from sea_runtime.coordinator.setbacks import Setbacks
from sea_runtime.coordinator.settings import Settings
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)

DESIRED, EPOCH = "desired", "epoch"


@dataclass
class Bells:
    """One for each thing that somebody waits for."""

    leases: Bell = field(default_factory=Bell)
    batches: Bell = field(default_factory=Bell)
    tasks: Bell = field(default_factory=Bell)
    weights: Bell = field(default_factory=Bell)
    runner: Bell = field(default_factory=Bell)

    def all(self) -> None:
        for bell in (self.leases, self.batches, self.tasks, self.weights, self.runner):
            bell.ring()


class Coordinator:
    """Everything the handlers need.

    Args:
        settings: from the pod's environment.
        store: the job's object store, patient.
        probe: the same store, impatient: asked whether it answers.
        wall: unix seconds, for what is written down.
        clock: monotonic seconds, for what expires.
    """

    def __init__(
        self,
        settings: Settings,
        store: ObjectStore,
        *,
        probe: ObjectStore | None = None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self.store = settings, store
        self.probe = probe or store
        self.wall, self.clock = wall, clock
        self.members = Members(clock)
        self.bells = Bells()
        self.generated, self.trained = Rate(clock), Rate(clock)
        self.db: Database | None = None
        self.wanted: CoordinatorSpec | None = None
        """Arrived, but not yet adopted: the ledger is being opened or restored."""
        self.adopted: CoordinatorSpec | None = None
        """The ledger's desired document."""
        self.data: CheckedData | None = None
        self.data_digest: str | None = None
        """Of the data that `data` was read from."""
        self.problem: Problem | None = None
        self.trouble: Problem | None = None
        """Episodes that lead nowhere: shown like `problem`, but rollouts go on trying."""
        self.setbacks = Setbacks()
        self.tried_again_at = 0.0
        self.caught_up = ("", 0)
        """Checkpoint that the ledger was restored to once more (`opening.catch_up`)."""
        self.drain_saved: str | None = None
        """Digest of the drain whose ledger lies in the object store."""
        self.head_read: str | None = None
        """Digest of the drain that has looked for a commit that nobody told of (`unheard.py`)."""
        self.data_problem_at = 0.0
        """Monotonic seconds of the last check that found one."""
        self.models: dict[str, str] = {}
        """Address of the base model by stream, once it is there."""
        self.store_reachable = True
        self.making: Making | None = None
        """Process of the running Synthesis stage."""
        self.making_problem: Problem | None = None
        self.making_again_at = 0.0
        """Monotonic seconds before which a failed process isn't started again."""
        self.making_given_up = ""
        """Task of a process for which it would be no use; empty where there is none."""

    @property
    def ledger_file(self) -> str:
        return str(self.settings.data_dir / "ledger.sqlite")

    @property
    def ledger(self) -> Database:
        """Raises NotReadyError until the ledger is open."""
        if self.db is None or self.adopted is None:
            raise NotReadyError(
                "The coordinator waits for the operator's first PUT /v1/spec, or restores its "
                "ledger from the newest checkpoint. Ask again."
            )
        return self.db

    @property
    def desired(self) -> CoordinatorSpec:
        """What the operator wants; raises NotReadyError before it said so."""
        assert self.ledger is not None
        assert self.adopted is not None
        return self.adopted

    @property
    def attempt(self) -> int:
        return self.desired.attempt

    @property
    def stage(self) -> Stage | None:
        """The stage that runs; None when all are complete."""
        index = self.desired.stage_index
        return self.desired.spec.stages[index] if index < len(self.desired.spec.stages) else None

    @property
    def running_stage(self) -> Stage | None:
        """The stage that runs, None while it waits for data or the base model, or has ended."""
        stage = self.stage
        if stage is None or stages.phase(self.ledger, stage.name) != StagePhase.RUNNING:
            return None
        return stage if stages.finished_at(self.ledger, stage.name) is None else None

    @property
    def epoch(self) -> str:
        return documents.text(self.ledger, EPOCH) or ""

    def stage_named(self, name: str) -> tuple[int, Stage]:
        """Index and stage; raises RefusedError where the job has no such stage."""
        for index, stage in enumerate(self.desired.spec.stages):
            if stage.name == name:
                return index, stage
        raise RefusedError(f"The job has no stage '{name}'.")

    def require_attempt(self, attempt: int) -> None:
        """Raises StaleError unless the caller belongs to the current trainer attempt."""
        if attempt != self.attempt:
            raise StaleError(
                f"Attempt {attempt} is over, attempt {self.attempt} is current. "
                "Stop this process; the supervisor starts the next one."
            )

    def required(self, stream: str) -> int:
        """Smallest version that an engine of the stream may serve."""
        newest = registry.newest(self.ledger, stream)
        return program.smallest_served(self.desired.spec, self.desired.stage_index, stream, newest)

    def publish_progress(self) -> int:
        """Versions that the running RL stage has published: the gate's `version`.

        At most as many as batches were fixed: a restored ledger finds the copies of later versions
        in the object store, but the trainer goes back to the checkpoint.
        """
        index, stage = self.desired.stage_index, self.stage
        assert stage is not None
        first = program.first_version(self.desired.spec, index)
        newest = registry.newest(self.ledger, program.stream_of(stage))
        return min(max(0, newest - first), batches.newest_step(self.ledger, stage.name))
