"""State of the run of `run_model.py`, its coordinator and its store."""

import asyncio
import shutil
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from sea_api.v1alpha1.data import StartFrom
from sea_api.wire.coordinator_spec import RollbackOrder
from sea_api.wire.state import RollbackCheck, StagePhase
from sea_data.object_store import StoreUnavailableError
from sea_runtime.coordinator import app
from sea_runtime.coordinator.app import Components, Settings
from sea_runtime.coordinator.data_check import CheckedData
from sea_runtime.coordinator.ledger import progress, stages
from sea_runtime.wire.checkpoints import Head
from sea_runtime.wire.membership import TrainerWorld
from sea_runtime.wire.rollouts import Lease
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.memory_store import MemoryStore
from sea_testing.coordinator.run_parts import (
    BATCH,
    STEPS,
    TRAINER_PODS,
    Engine,
    Lineage,
    Process,
    TrainerPod,
    head_url,
)


class RunState:
    """The state of all parts of a run, and its coordinator."""

    def __init__(
        self,
        folder: Path,
        anchor_every: int,
        other: "RunState | None" = None,
        step: int = 0,
        *,
        trainer_pods: int = TRAINER_PODS,
    ) -> None:
        """Args:
        other: whose checkpoint of `step` the run goes on from.
        """
        self.folder, self.clock = folder, kit.Clock()
        self.store: MemoryStore = other.store if other else MemoryStore()
        self.run_url = f"s3://bucket/x/{'second' if other else 'job'}"
        self.anchor_every = anchor_every
        spec = kit.spec(steps=STEPS, promptsPerStep=BATCH)
        pods = spec.trainer.model_copy(update={"replicas": trainer_pods})
        start = StartFrom(run=other.run_url, stage="rl", step=step) if other else None
        self.spec = spec.model_copy(update={"trainer": pods, "start_from": start})
        self.attempt, self.drain, self.size = 1, False, trainer_pods
        self.order: RollbackOrder | None = None
        self.requests: list[RollbackCheck] = []
        """Answers to those that were asked for, in order."""
        self.trainers = [TrainerPod(f"job-trainer-{i}") for i in range(trainer_pods)]
        self.process: Process | None = None
        self.world: TrainerWorld | None = None
        """Whose processes should run, as the pods heard last."""
        self.unheard = False
        """A call of a trainer pod was answered with 503: it goes on as it was told last."""
        self.waited = 0
        """Rounds for which the world's first pods have waited for the others."""
        self.sizes: list[int] = []
        """Pods of each attempt whose processes have begun."""
        self.zombies: list[Process] = []
        self.engines = [Engine("rollout-0"), Engine("rollout-1")]
        self.late: list[tuple[Lease, Engine, str]] = []
        """Leases of workers that are gone or slow, with the incarnation that held them."""
        self.away_until = 0
        """Round until which the object store doesn't answer."""
        self.asked_named = False
        """Whether the head named the checkpoint that was asked for."""
        self.head_lost = False
        self.pinned: set[str] = set()
        """Manifest keys of checkpoints that a person keeps."""
        self.orphaned: set[str] = set()
        """Manifest keys of checkpoints whose head was lost, and that no head has named since."""
        self.saved: dict[str, Lineage] = other.saved if other else {}
        """By manifest key: what a checkpoint's parameters were trained on."""
        self.lineages: dict[tuple[int, int], Lineage] = other.lineages if other else {}
        """By version and attempt: what the weights that were published so were trained on."""
        self.copied: set[int] = set()
        """Weight versions that the object store has."""
        self.left: set[int] = set()
        """Those of them that come after a checkpoint that the run has gone back to."""
        self.damaged: set[str] = set()
        """Manifest keys of checkpoints that can't be loaded."""
        self.fixed: dict[int, bytes] = {}
        self.turn = 0
        self._runner = asyncio.Runner()
        self.core = self._coordinator()

    @property
    def wanted(self) -> Any:
        return kit.desired(
            self.spec,
            attempt=self.attempt,
            drain=self.drain,
            trainer_size=self.size,
            rollback=self.order,
            run_url=self.run_url,
        )

    def _coordinator(self) -> Components:
        settings = Settings("job", "ns", kit.UID, "token", "127.0.0.1", self.folder)
        store: Any = self.store
        core = app.Components(settings, store, store, wall=self.clock, clock=self.clock)
        core.preconditions._data = CheckedData({kit.FILE: kit.task_rows()})
        core.job.request(self.wanted)
        self.await_(core.bootstrap.open())
        stages.start(core.ledger.db, "rl", self.clock())
        return core

    def restart_coordinator(self, *, volume_lost: bool) -> None:
        self.core.ledger.withdraw()
        # Until then it has no ledger, and answers nobody.
        self.away_until, self.store.away = 0, False
        if volume_lost:
            shutil.rmtree(self.folder)
            # Batches after the checkpoint are drawn again.
            self.fixed.clear()
        self.core = self._coordinator()

    def controller_pass(self) -> None:
        """One look of the stage controller, without its pause."""

        async def once() -> None:
            look = asyncio.ensure_future(self.core.controller.look())
            while not look.done():
                self.core.notifiers.background.notify()
                await asyncio.sleep(0)
            # Looked at again in the next round.
            with suppress(StoreUnavailableError):
                await look

        self.await_(once())

    def rollback_pass(self) -> None:
        """Looks at what is to be gone back to; restores the ledger if that was done."""
        desired = self.core.job.desired
        if desired.rollback is None:
            return
        known = self.head
        with suppress(StoreUnavailableError):
            self.await_(self.core.rollbacks.follow(desired, desired.rollback))
        if self.core.ledger.available:
            return
        if known.rollback != self.head.rollback:
            for engine in self.engines:
                engine.left_behind |= engine.adopted > self.committed_step
            self.left |= {one for one in self.copied if one > self.committed_step}
        self._open_ledger()

    def _open_ledger(self) -> None:
        """That of the newest checkpoint, or a new one, whose stage then has yet to begin."""
        self.fixed.clear()
        self.await_(self.core.bootstrap.open())
        stages.start(self.core.ledger.db, "rl", self.clock())

    @property
    def complete(self) -> bool:
        return stages.phase(self.core.ledger.db, "rl") == StagePhase.COMPLETE

    @property
    def head(self) -> Head:
        return self._head_of(self.run_url)

    def _head_of(self, run_url: str) -> Head:
        found = self.store.objects.get(head_url(run_url))
        return Head() if found is None else Head.model_validate_json(found)

    def _write_head(self, head: Head) -> None:
        assert head.attempt >= self.head.attempt, "the head went to an attempt that has ended"
        self.store.put(head_url(self.run_url), head.model_dump_json().encode())

    @property
    def trains(self) -> bool:
        return self.process is not None and self.process.opened

    @property
    def just_opened(self) -> bool:
        """An attempt has begun and has not trained yet."""
        process = self.process
        return process is not None and process.opened and process.step == process.resumed

    @property
    def committed_step(self) -> int:
        newest = self.head.newest
        return newest.step if newest else 0

    @property
    def reported_step(self) -> int:
        """Of the newest checkpoint that the ledger knows."""
        return progress.last_committed(self.core.ledger.db, "rl")

    def await_(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    def close(self) -> None:
        """Forgets the ledger and ends the event loop."""
        self.core.ledger.withdraw()
        self._runner.close()

    def __str__(self) -> str:
        state = self.core.state.assemble()
        return (
            f"attempt {self.attempt}, process {self.process}, pods {self.trainers}, "
            f"size {self.size}, world {self.world}, order {self.order}, drain {self.drain}, "
            f"engines {self.engines}, state {state}"
        )
