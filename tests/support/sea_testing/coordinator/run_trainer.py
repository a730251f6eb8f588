"""The training processes of the run of `run_model.py`, in the phases of the real ones."""

from typing import Any

from sea_data.object_store import StoreUnavailableError
from sea_runtime.coordinator import snapshot
from sea_runtime.coordinator.errors import GoneError
from sea_runtime.coordinator.training import AheadError
from sea_runtime.trainer.checkpoint import head as heads
from sea_runtime.trainer.checkpoint.commit import Commits, clean_up
from sea_runtime.wire.checkpoints import Entry
from sea_runtime.wire.rollouts import Batch
from sea_runtime.wire.trainer import (
    CheckpointCommitted,
    StageDone,
    StageProgress,
    TaskKind,
    TrainerTask,
)
from sea_runtime.wire.weights import WeightVersion
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.run_parts import (
    BATCH,
    BUFFERS,
    ENDED,
    EVERY,
    PHASES,
    STEPS,
    Process,
    Save,
    manifest,
)
from sea_testing.coordinator.run_pods import RunWithPods


class RunWithTrainer(RunWithPods):
    """Rank 0 opens, trains, publishes and commits, one thing per round."""

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
