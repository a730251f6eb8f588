"""Rank 0 with its supervisor: trains by counting."""

import hashlib

from sea_runtime.client.calls import StaleAttemptError
from sea_runtime.wire.membership import PodState
from sea_runtime.wire.rollouts import Batch
from sea_runtime.wire.trainer import TaskKind, TrainerTask
from sea_testing.coordinator.job import Job
from sea_testing.coordinator.pod import Pod
from sea_testing.coordinator.reports import Reports
from sea_testing.waiting import wait_for


class Trainer(Pod):
    """Takes batches, publishes versions and commits checkpoints, as often as it is told."""

    def __init__(self, job: Job, name: str = "job-trainer-0") -> None:
        super().__init__(job, name, "trainer")
        self.state = PodState.STARTING
        self.batches: dict[tuple[str, int], list[bytes]] = {}
        """Hash of every batch that was received, by stage and step, in order of receipt."""
        self.groups: dict[tuple[str, int], list[str]] = {}
        self.every = 2
        self.crash_after: int | None = None
        """Step after which the process dies, once."""
        self.hold_after: int | None = None
        """Step after which it waits until this is None again: a test may act meanwhile, however
        slow it is."""
        self.stopped = False

    def act(self) -> None:
        if not self.reply.run or self.reply.world is None:
            self.attempt, self.state = 0, PodState.STARTING
            self.ended.wait(0.02)
            return
        self.attempt, self.state = self.reply.world.attempt, PodState.READY
        try:
            self.process(self.attempt)
        except StaleAttemptError:
            self.ended.wait(0.02)

    def process(self, attempt: int) -> None:
        """One life of the training process."""
        while not self.ended.is_set():
            task = self.client.trainer_task(attempt)
            if task.kind == TaskKind.STOP:
                self.stopped = True
                self.attempt = 0
                self.ended.wait(0.1)
                return
            reports = Reports(self.job, self.client, task, attempt)
            if task.kind == TaskKind.SFT:
                self.sft(task, reports)
            elif task.kind == TaskKind.RL and not self.rl(task, attempt, reports):
                return

    def sft(self, task: TrainerTask, reports: Reports) -> None:
        for step in range(1, 4):
            reports.progress(step, 3)
        reports.checkpoint(3, task.first_version + 1)
        reports.publish(task.first_version + 1, 3, anchor=True)
        reports.done(3)

    def rl(self, task: TrainerTask, attempt: int, reports: Reports) -> bool:
        assert task.spec is not None
        block = task.spec.stages[task.stage_index].rl
        assert block is not None
        step = reports.resume_step()
        reports.publish(task.first_version + step, step)
        while step < block.steps:
            self.held(step)
            batch = self.next_batch(task, attempt, step + 1)
            if batch is None:
                if step:
                    reports.checkpoint(step, task.first_version + step)
                return True
            step += 1
            reports.publish(task.first_version + step, step)
            if step % self.every == 0 or step == block.steps:
                reports.checkpoint(step, task.first_version + step)
            reports.progress(step, block.steps, reward=batch.mean_reward)
            if self.crash_after == step:
                self.crash_after = None
                self.state = PodState.FAILED
                wait_for("failure to be noticed", lambda: not self.reply.run)
                return False
        reports.done(step)
        return True

    def held(self, step: int) -> None:
        while self.hold_after is not None and step >= self.hold_after and not self.ended.is_set():
            self.ended.wait(0.02)

    def next_batch(self, task: TrainerTask, attempt: int, step: int) -> Batch | None:
        while not self.ended.is_set():
            body = self.client.batch(task.stage, step, attempt)
            if body is not None:
                return self.remember(body)
            if self.client.trainer_task(attempt).stage != task.stage:
                return None
        return None

    def remember(self, body: bytes) -> Batch:
        batch = Batch.decode(body)
        key = (batch.stage, batch.step)
        self.batches.setdefault(key, []).append(hashlib.sha256(body).digest())
        self.groups[key] = [group.group_id for group in batch.groups]
        return batch
