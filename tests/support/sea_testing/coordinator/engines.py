"""Pods with an engine: they serve weights, and some of them run episodes."""

import random
import threading
import uuid

from sea_runtime.client.calls import CoordinatorError
from sea_runtime.wire.rollouts import EpisodeResult, Lease, LeaseRequest, Trajectory
from sea_testing.coordinator.job import Job
from sea_testing.coordinator.pod import Pod


class Engine(Pod):
    """An engine with its updater: serves the newest version of its stream at once."""

    stream = "policy"

    def __init__(self, job: Job, name: str, role: str) -> None:
        super().__init__(job, name, role)
        self.adopted = 0
        self._updates = threading.Thread(target=self._update, daemon=True)

    def run(self) -> None:
        self._updates.start()
        super().run()

    def _update(self) -> None:
        client = self.job.client()
        while not self.ended.is_set():
            try:
                found = client.newer_weights(self.stream, self.adopted or 0, 1.0)
            except CoordinatorError:
                continue
            if found.newest is not None:
                # First: a beat in between must not give the version to an attempt before.
                self.adopted_attempt = found.newest.attempt
                self.adopted = found.newest.version


class UserPod(Engine):
    stream = "user"


class Worker(Engine):
    """Runs episodes: their rewards are drawn from the lease's seed."""

    def __init__(self, job: Job, name: str, seed: int = 0) -> None:
        super().__init__(job, name, "rollout")
        self.random = random.Random(seed)
        self.leases: list[Lease] = []
        self.counted: list[str] = []
        """Leases whose results were accepted."""
        self.broken = 0.0
        """Share of episodes that end without a verdict."""
        self.lost = 0.0
        """Share of episodes that the worker forgets about, as if killed."""

    def act(self) -> None:
        request = LeaseRequest(pod=self.pod, incarnation=self.incarnation, want=5)
        leases = self.client.lease(request).leases
        self.leases += leases
        for lease in leases:
            if self.ended.is_set():
                return
            if self.random.random() < self.lost:
                self.incarnation = uuid.uuid4().hex
                return
            self.finish(lease)

    def finish(self, lease: Lease) -> bool:
        result = episode(lease, self, None if self.random.random() < self.broken else "seed")
        accepted = self.client.result(result)
        if accepted and result.reward is not None:
            self.counted.append(lease.lease_id)
        return accepted


def episode(lease: Lease, worker: Pod, reward: float | str | None) -> EpisodeResult:
    """A result with a synthetic trajectory that names its lease."""
    if reward == "seed":
        reward = float(lease.seed % 3 == 0)
    version = worker.adopted or 0
    tokens = [lease.seed % 1000, lease.sample, 7, 8]
    return EpisodeResult(
        lease_id=lease.lease_id,
        pod=worker.pod,
        incarnation=worker.incarnation,
        reward=reward,  # type: ignore[arg-type]
        error="" if reward is not None else "The engine died.",
        trajectory=Trajectory.pack(
            tokens, [0, 0, 1, 1], [0, 0, -0.5, -0.1], [-1, -1] + [version] * 2
        ).encode(),
        mean_version=float(version),
        generated_tokens=2,
        turns=1,
        stop="UserStop",
        transcript=[{"role": "user", "content": "Hello"}],
        seconds=0.01,
        details={"DB": reward},
    )
