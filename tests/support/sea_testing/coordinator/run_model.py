"""A whole run in one process: a real coordinator, and models of everything around it.

Two trainer pods form the world of an attempt, or one does while the other is missing or a spare;
its rank 0 opens, trains, publishes and commits in the phases of the real one (with its own pure
decisions about `head.json`). Engines fetch only what somebody still serves. The operator raises
attempts, drains, chooses the trainer's size and goes back to older checkpoints. `round` moves each
of them on by one step; what a test breaks between two rounds is up to it. Used by
`tests/runtime/coordinator/test_run_survives.py`.
"""

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from sea_api.v1alpha1.data import StartFrom
from sea_api.v1alpha1.policy import Cause
from sea_api.wire.coordinator_spec import RollbackOrder
from sea_api.wire.state import CoordinatorState, RollbackCheck, StagePhase
from sea_data.object_store import StoreUnavailableError
from sea_runtime.coordinator import app, snapshot
from sea_runtime.coordinator.app import Components, Settings
from sea_runtime.coordinator.data_check import CheckedData
from sea_runtime.coordinator.errors import GoneError, NotReadyError
from sea_runtime.coordinator.ledger import batches, groups, progress, stages
from sea_runtime.coordinator.training import AheadError
from sea_runtime.trainer.checkpoint import head as heads
from sea_runtime.trainer.checkpoint.commit import Commits, clean_up
from sea_runtime.wire.checkpoints import Entry, Head
from sea_runtime.wire.membership import PodState, TrainerWorld
from sea_runtime.wire.rollouts import Batch, Lease, LeaseRequest
from sea_runtime.wire.trainer import (
    CheckpointCommitted,
    StageDone,
    StageProgress,
    TaskKind,
    TrainerTask,
)
from sea_runtime.wire.weights import WeightVersion
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.memory_store import MemoryStore
from sea_testing.coordinator.run_parts import (
    BATCH,
    BUFFERS,
    ENDED,
    EVERY,
    JOIN_ROUNDS,
    PHASES,
    STEPS,
    TRAINER_PODS,
    Engine,
    Lineage,
    Process,
    Save,
    TrainerPod,
    head_url,
    manifest,
)


class Run:
    """One run and the state of all its parts."""

    def __init__(
        self,
        folder: Path,
        anchor_every: int,
        other: "Run | None" = None,
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

    # The coordinator.

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

    # The operator.

    def operate(self) -> None:
        state = self.core.state.assemble()
        failure = state.trainer_failure
        if failure is not None and failure.attempt == self.attempt:
            self.attempt += 1
        if not self.drain:
            self._resize(state)
        self._follow_order(state)
        if state.spec_digest != self.wanted.digest:
            self.core.job.request(self.wanted)

    def _resize(self, state: CoordinatorState) -> None:
        """Smaller at once, by another attempt; larger once the running one has made room."""
        alive = sum(pod.alive for pod in self.trainers)
        if 0 < alive < self.size:
            self.size = alive
            self.attempt += 1
        elif alive > self.size:
            self.size = alive
        elif state.resized_attempt == self.attempt:
            self.attempt += 1

    def ask_to_go_back(self, step: int) -> None:
        self.asked_named = self._names(step)
        generation = len(self.requests) + 1
        self.order = RollbackOrder(stage="rl", step=step, generation=generation)

    def _follow_order(self, state: CoordinatorState) -> None:
        order, check = self.order, state.rollback_check
        if order is None or check is None or check.generation != order.generation:
            return
        if check.done or check.problem:
            runs = order.stage == "rl" and not self.complete
            named = runs and self.asked_named and self._names(order.step)
            known = self.store.objects.keys()
            sound = named and all(
                self._objects(one) <= known and one.manifest_key not in self.damaged
                for one in self.head.checkpoints
            )
            assert check.done or not sound, check.problem
            self.requests.append(check)
            self.order = None
        elif order.attempt is None and not self.drain:
            self.attempt += 1
            self.order = order.model_copy(update={"attempt": self.attempt})

    def _names(self, step: int) -> bool:
        return any(one.step == step for one in self.head.checkpoints)

    def _objects(self, entry: Entry) -> set[str]:
        url = f"s3://bucket/{entry.manifest_key}"
        return {url, url.replace("manifest.json", "ledger.sqlite")}

    def pin(self, which: int) -> None:
        """A person keeps a checkpoint."""
        if self.head.checkpoints and not self.store.away:
            entry = self.head.checkpoints[which % len(self.head.checkpoints)]
            self._write_head(heads.pinned(self.head, entry, True))
            self.pinned.add(entry.manifest_key)

    def lose_head(self) -> None:
        """Somebody deletes it, or the store loses it."""
        self.orphaned |= {one.manifest_key for one in self.head.checkpoints}
        if self.store.objects.pop(head_url(self.run_url), None) is not None:
            self.head_lost = True

    # The trainer.

    def trainer_pass(self) -> None:
        """The supervisors call, then rank 0 does one thing."""
        self.world, self.unheard = None, False
        for pod in self.trainers:
            if pod.alive:
                self._call(pod)
        process, world = self.process, self.world
        told = world.attempt if world is not None else 0
        if process is not None and not self.unheard and told != process.attempt:
            self.end_process(zombie=False)
            process = None
        if process is None:
            process = self._start(world)
        if process is not None:
            self.act(process)

    def _call(self, pod: TrainerPod) -> None:
        runs = self.process is not None and self.process.attempt == pod.attempt
        beat = kit.beat(
            pod.name,
            "trainer",
            pod.incarnation,
            state=(
                PodState.FAILED
                if pod.failed
                else PodState.READY
                if pod.attempt and runs
                else PodState.STARTING
            ),
            attempt=pod.failed or pod.attempt,
            cause=Cause.PROCESS_EXIT if pod.failed else None,
            leaving=pod.leaving,
        )
        try:
            reply = self.core.heartbeats.heard(beat)
        except NotReadyError:
            self.unheard = True
            return
        if pod.leaving and not pod.attempt:
            # As `Supervisor._leave`: it waits for its processes, and has none.
            pod.alive = pod.leaving = False
            return
        if reply.run and reply.world is not None:
            assert pod.name in reply.world.pods, "a spare runs"
            if pod.attempt != reply.world.attempt:
                pod.attempt, pod.failed = reply.world.attempt, 0
            self.world = reply.world
            return
        if pod.attempt:
            self.end_process(zombie=False)

    def _start(self, world: TrainerWorld | None) -> Process | None:
        """The processes of a world, once all of its pods run theirs."""
        if world is None:
            self.waited = 0
            return None
        members = [pod for pod in self.trainers if pod.name in world.pods]
        if all(pod.alive and pod.attempt == world.attempt for pod in members):
            self.waited = 0
            self.process = Process(world.attempt, list(world.pods))
            self.sizes.append(len(world.pods))
            return self.process
        self.waited += 1
        if self.waited > JOIN_ROUNDS:
            self.waited = 0
            self._fail(members, world.attempt)
        return None

    def _fail(self, members: list[TrainerPod], attempt: int) -> None:
        for pod in members:
            if pod.alive and pod.attempt == attempt:
                pod.failed = attempt
            pod.attempt = 0

    def end_process(self, *, zombie: bool, frozen: int = 0) -> None:
        """The processes end; as zombies they go on where nobody sees them."""
        if zombie and self.process is not None:
            self.process.wakes = self.turn + frozen
            self.zombies.append(self.process)
        for pod in self.trainers:
            pod.attempt = 0
        self.process = None

    def crash(self) -> None:
        """One process dies, and the others in their collectives with it."""
        if self.process is not None:
            process, self.process = self.process, None
            members = [pod for pod in self.trainers if pod.name in process.pods]
            self._fail(members, process.attempt)

    def replace_trainer_pod(self, *, zombie: bool, which: int = 0, frozen: int = 0) -> None:
        """Its node is lost; with `zombie` the processes there still run.

        The operator sees that the pod has gone and raises the attempt, which fences them.
        """
        pod = self.trainers[which]
        pod.life += 1
        pod.failed, pod.leaving, pod.alive = 0, False, True
        if self.process is not None and pod.name in self.process.pods:
            self.attempt += 1
            self.end_process(zombie=zombie, frozen=frozen)

    def zombies_pass(self) -> None:
        """They may finish what nothing has fenced yet, and nothing after that."""
        for zombie in list(self.zombies):
            if self.turn < zombie.wakes:
                continue
            try:
                # The thread that uploads doesn't ask for the task.
                self._advance(zombie)
                self._act(zombie)
            except ENDED:
                self.zombies.remove(zombie)
            else:
                ended = zombie.attempt < self.core.job.attempt
                assert not ended, f"a process of attempt {zombie.attempt} goes on"

    def lose_trainer_pod(self, which: int) -> None:
        """It goes and doesn't come back, unless it is the last one."""
        pod = self.trainers[which]
        stay = [one for one in self.trainers if one.alive and not one.leaving and one is not pod]
        if not stay or not pod.alive:
            return
        pod.alive = False
        if self.process is not None and pod.name in self.process.pods:
            self.crash()
        pod.failed = pod.attempt = 0

    def return_trainer_pods(self) -> None:
        for pod in self.trainers:
            if not pod.alive:
                pod.alive, pod.leaving, pod.life = True, False, pod.life + 1

    def evict_trainer_pod(self, which: int) -> None:
        """It is deleted with a grace period."""
        if all(one.alive and not one.leaving for one in self.trainers):
            self.trainers[which].leaving = True

    def act(self, process: Process) -> None:
        """Rank 0's next step; the process ends when its attempt has."""
        try:
            self._act(process)
        except ENDED:
            if self.process is process:
                self.crash()
            raise

    def _act(self, process: Process) -> None:
        task = self.core.training.task(process.attempt)
        if not process.opened:
            if task is not None and task.kind == TaskKind.RL:
                self._open(process, task)
            return
        if task is not None and task.kind == TaskKind.STOP:
            if self.store.away:
                return
            self._finish(process)
            self.end_process(zombie=False)
            return
        if task is None:
            return
        if task.ledger_epoch != process.epoch:
            # As `StageTrainer.follow` does.
            process.epoch = task.ledger_epoch
            if process.published:
                self.core.weights.publish(process.published[-1])
        if process.step >= STEPS:
            if not self.store.away:
                self._complete(process)
        else:
            self._train(process)

    def _open(self, process: Process, task: TrainerTask) -> None:
        if self.store.away:
            return
        head = heads.fence(self.head, process.attempt)
        while head.newest is not None and head.newest.manifest_key in self.damaged:
            head = heads.without_damaged(head, head.newest, process.attempt)
        self._write_head(head)
        objects: Any = self.store
        commits = Commits(objects, self.run_url, "rl", process.attempt)
        clean_up(commits, self.head)
        newest = head.newest
        process.lineage = self.saved[newest.manifest_key] if newest else ()
        if newest is None and task.origin is not None:
            process.lineage = self.saved[kit.some(task.origin.entry).manifest_key]
        process.resumed = process.step if newest else 0
        process.epoch, process.opened = task.ledger_epoch, True
        if process.step and process.step < STEPS:
            self._publish(process)

    def _train(self, process: Process) -> None:
        step = process.step + 1
        try:
            body = kit.batch(self.core, step, process.attempt)
        except AheadError as error:
            if self.await_(self.core.bootstrap.catch_up("rl", error.fixed)):
                self._open_ledger()
                return
            raise self.core.training.fail_ahead("rl", step, error.fixed) from error
        except StoreUnavailableError:
            return
        except GoneError:
            # A checkpoint behind the ledger was loaded: the ledger follows.
            if self.await_(self.core.bootstrap.go_back("rl", step)):
                self._open_ledger()
                return
            raise
        if not body:
            self._advance(process)
            return
        assert self.fixed.setdefault(step, body) == body, f"batch {step} has changed"
        taken = Batch.decode(body).groups
        assert len(taken) == BATCH
        assert all(len(set(group.rewards)) == 2 for group in taken)
        process.lineage = (*process.lineage, tuple(group.group_id for group in taken))
        trained = [group for one in process.lineage for group in one]
        assert len(trained) == len(set(trained)), f"trained twice: {process.lineage}"
        self._publish(process)
        if step % EVERY == 0 or step == STEPS:
            process.saves.append(Save(step, process.lineage))
        row = StageProgress(attempt=process.attempt, step=step, total_steps=STEPS, metrics={})
        self.core.training.report("rl", row)
        self._advance(process)

    def _publish(self, process: Process) -> None:
        self._label(process)
        version = kit.version(process.step, process.attempt)
        process.published = [*process.published, version][-BUFFERS:]
        self.core.weights.publish(version)
        if process.step % self.anchor_every == 0:
            copied = kit.version(process.step, process.attempt, anchor=True)
            process.copies = [copied]

    def _label(self, process: Process) -> None:
        """An attempt may publish a number again, but not with other weights."""
        label = process.step, process.attempt
        known = self.lineages.setdefault(label, process.lineage)
        assert known == process.lineage, f"version {label} is of two lines"

    def _advance(self, process: Process) -> None:
        """Uploads go on: the next phase of a save, and the copy of a version."""
        # Each call is repeated until the store is back.
        if not self.store.away:
            for copy in process.copies:
                self._copy(process, copy)
            process.copies = []
        if process.saves and not (self.store.away and process.saves[0].phase):
            self._save_phase(process, process.saves[0])

    def _copy(self, process: Process, version: WeightVersion) -> None:
        """The object store has a version now."""
        self.core.weights.publish(version)
        self.core.weights.keep_manifest(version)
        self.copied.add(version.version)
        self.left.discard(version.version)

    def _save_phase(self, process: Process, save: Save) -> None:
        folder = snapshot.checkpoint_key("rl", save.step, process.attempt)
        key = f"{self.run_url.removeprefix('s3://bucket/')}/{folder}/manifest.json"
        training = self.core.training
        if save.phase == 0:
            training.require_known("rl", save.step, process.attempt)
            try:
                taken = self.core.snapshots.take("rl", save.step, process.attempt)
                save.ledger = self.await_(taken)
            except StoreUnavailableError:
                return
            self.saved[key] = save.lineage
        elif save.phase == 1:
            if not self.store.exists(
                f"s3://bucket/{key}".replace("manifest.json", "ledger.sqlite")
            ):
                # As `Saver._require_stored` does: an attempt that has taken over has deleted it.
                process.saves.remove(save)
                return
            self.store.put(f"s3://bucket/{key}", manifest(save, process.attempt))
            entry = Entry(
                step=save.step, version=save.step, manifest_key=key, bytes=1, time=self.clock()
            )
            self._write_head(heads.append(self.head, entry, process.attempt, 2, None)[0])
        else:
            message = CheckpointCommitted(
                attempt=process.attempt,
                step=save.step,
                version=save.step,
                bytes=1,
                manifest_key=key,
            )
            training.committed("rl", message)
            process.saves.remove(save)
        save.phase += 1

    def _finish(self, process: Process) -> None:
        """Commits the current step, as a drain and a stage's end do."""
        self._end_saves(process)
        newest = self.head.newest
        done = newest is not None and (newest.step, self.head.attempt) == (
            process.step,
            process.attempt,
        )
        if process.step != process.resumed and not done:
            process.saves.append(Save(process.step, process.lineage))
            self._end_saves(process)

    def _end_saves(self, process: Process) -> None:
        """Each call moves one save on by a phase: the store answers."""
        for _ in range(PHASES * len(process.saves)):
            self._advance(process)
        assert not process.saves, f"a save that never ends: {process.saves}"

    def _complete(self, process: Process) -> None:
        self._label(process)
        anchor = kit.version(process.step, process.attempt, anchor=True)
        self._copy(process, anchor)
        self._finish(process)
        self.core.training.done("rl", StageDone(attempt=process.attempt, step=process.step))

    def damage_newest(self) -> bool:
        """Damages the newest checkpoint if there is another; false if there isn't."""
        sound = [c for c in self.head.checkpoints if c.manifest_key not in self.damaged]
        if len(sound) > 1:
            self.damaged.add(sound[-1].manifest_key)
        return len(sound) > 1

    @property
    def head(self) -> Head:
        return self._head_of(self.run_url)

    def _head_of(self, run_url: str) -> Head:
        found = self.store.objects.get(head_url(run_url))
        return Head() if found is None else Head.model_validate_json(found)

    def _write_head(self, head: Head) -> None:
        assert head.attempt >= self.head.attempt, "the head went to an attempt that has ended"
        self.store.put(head_url(self.run_url), head.model_dump_json().encode())

    # Engines and workers.

    def update(self, engine: Engine) -> None:
        """Fetches the newest version that can be had, and calls."""
        reply = self.core.weights.query("policy", engine.adopted)
        if reply is not None and not engine.stuck:
            offers = [one for one in (reply.newest, reply.anchor) if one is not None]
            for offer in offers:
                self._require_fetchable(offer)
            found = next((one for one in offers if self._fetchable(one)), None)
            if found is not None:
                engine.adopted, engine.attempt = found.version, found.attempt
        told = self.core.heartbeats.heard(
            kit.beat(
                engine.pod,
                "rollout",
                engine.incarnation,
                adopted=engine.adopted,
                adopted_attempt=engine.attempt,
            )
        )
        if told.restart:
            self.restart_engine(engine)

    def _fetchable(self, version: WeightVersion) -> bool:
        """From the object store, or from the memory of the process that lives."""
        if all(shard.object_url for shard in version.shards):
            return True
        return self.process is not None and version in self.process.published

    def _require_fetchable(self, offer: WeightVersion) -> None:
        """In the object store, or with the attempt that lives as far as the coordinator knows."""
        if not all(shard.object_url for shard in offer.shards):
            assert offer.attempt == self.core.job.attempt, "a version that went with its trainer"
            return
        assert offer.version not in self.left, f"version {offer.version} of the line that was left"

    def lease(self, engine: Engine) -> None:
        holding = [lease.lease_id for lease in engine.leases]
        request = LeaseRequest(
            pod=engine.pod, incarnation=engine.incarnation, want=4, holding=holding
        )
        found = self.core.scheduler.lease(request)
        engine.leases += found.leases if found else []
        assert not (found and engine.left_behind), "episodes for weights that were left behind"
        if found:
            self._require_line(engine)
        self._require_gate()

    def _require_line(self, engine: Engine) -> None:
        """An engine's weights were trained on the batches that the ledger knows."""
        trained = self.lineages.get((engine.adopted, engine.attempt), ())
        rows = self.core.ledger.db.rows(
            "SELECT step, id FROM groups WHERE stage = 'rl' AND step <= ?", engine.adopted
        )
        known = [{row["id"] for row in rows if row["step"] == n + 1} for n in range(engine.adopted)]
        assert [set(one) for one in trained] == known, f"{engine} serves {trained}, not {known}"

    def _require_gate(self) -> None:
        """No more groups than the batches up to the newest version may still need."""
        db = self.core.ledger.db
        fixed = batches.newest_step(db, "rl")
        counted = groups.running(db, "rl") * groups.kept_share(db, "rl")
        ahead = fixed * BATCH + groups.admitted(db, "rl") + counted
        staleness = kit.some(self.spec.stages[0].rl).max_staleness
        assert ahead <= (staleness + fixed + 1) * BATCH, "the gate is too far open"

    def deliver(self, engine: Engine, times: int = 1) -> None:
        """Results of all its episodes; a result may arrive twice."""
        for lease in engine.leases:
            reward = float((lease.sample + self.turn) % 2)
            version = float(engine.adopted)
            sent = kit.result(lease, engine.pod, engine.incarnation, reward, version)
            for _ in range(times):
                self.core.scheduler.result(sent)
        engine.leases = []

    def restart_engine(self, engine: Engine) -> None:
        self.late += [(lease, engine, engine.incarnation) for lease in engine.leases]
        engine.leases, engine.left_behind = [], False
        engine.adopted = engine.attempt = 0
        engine.life += 1

    def deliver_late(self) -> None:
        """Results of workers that are gone: acknowledged or refused, never counted twice."""
        for lease, engine, incarnation in self.late:
            self.core.scheduler.result(kit.result(lease, engine.pod, incarnation, 1.0))
        self.late = []

    # Time.

    def round(self) -> None:
        """Everybody does one thing; a second passes."""
        self.turn += 1
        self.clock.now += 1.0
        self.orphaned -= {one.manifest_key for one in self.head.checkpoints}
        self.store.away = self.turn < self.away_until
        self.operate()
        with suppress(*ENDED):  # `act` has noted it
            self.trainer_pass()
        self.zombies_pass()
        first, second = self.engines
        self.update(first)
        self.deliver(first)
        self.lease(first)
        # Its worker asks for episodes before it hears of anything.
        self.deliver(second)
        self.lease(second)
        self.update(second)
        self.controller_pass()
        self.rollback_pass()

    def rounds_until(self, condition: Callable[[], bool], most: int = 12) -> None:
        """Rounds until something is so; gives up after `most`, since a drained run stands still."""
        for _ in range(most):
            if condition():
                return
            self.round()

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
