"""Nothing lost, nothing counted twice: a random machine of kills, duplicates and reorderings.

Workers lose answers, die and come back, speak up after their lease was given to another; the
coordinator is killed between any two calls and goes on with its file.
"""

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import msgspec
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from sea_runtime.coordinator.ledger import groups
from sea_runtime.coordinator.ledger.episodes import Worker
from sea_runtime.coordinator.ledger.groups import (
    EPISODE_MOVES,
    GROUP_MOVES,
    EpisodeState,
    GroupState,
)
from sea_runtime.wire.rollouts import Batch, Lease, LeaseRequest
from sea_runtime.wire.trainer import CheckpointCommitted
from sea_testing.coordinator import inprocess as kit

PODS = ("rollout-0", "rollout-1")
BATCH, STEPS, ETA = 2, 3, 1


class Ledger(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-"))
        self.clock = kit.Clock()
        self.wanted = kit.desired(kit.spec())
        self.core = kit.coordinator(self.folder, self.wanted, self.clock)
        self.life = dict.fromkeys(PODS, 0)
        self.known: list[tuple[Lease, str, str]] = []
        """Leases that some worker, alive or not, believes to hold."""
        self.sent: dict[str, float] = {}
        """Lease -> reward of results that were accepted."""
        self.counted: dict[tuple[str, int], str] = {}
        """Episode -> lease whose reward counts."""
        self.batches: dict[int, bytes] = {}
        self.version = 0
        self.checkpoint = 0

    def incarnation(self, pod: str) -> str:
        return f"{pod}-life-{self.life[pod]}"

    def beat(self, pod: str) -> None:
        message = kit.beat(pod, "rollout", self.incarnation(pod), adopted=self.version)
        self.core.heartbeats.heard(message)

    @initialize()
    def everybody_calls(self) -> None:
        for pod in PODS:
            self.beat(pod)

    @rule(pod=st.sampled_from(PODS))
    def worker_calls(self, pod: str) -> None:
        self.beat(pod)

    @rule(pod=st.sampled_from(PODS))
    def worker_is_killed(self, pod: str) -> None:
        self.life[pod] += 1
        self.beat(pod)

    @rule(pod=st.sampled_from(PODS), want=st.integers(1, 6), lost=st.booleans())
    def lease(self, pod: str, want: int, lost: bool) -> None:
        me = self.incarnation(pod)
        holding = [
            lease.lease_id for lease, owner, life in self.known if (owner, life) == (pod, me)
        ]
        request = LeaseRequest(pod=pod, incarnation=me, want=want, holding=holding)
        found = self.core.scheduler.lease(request)
        fresh = found.leases if found else []
        assert len(fresh) <= want
        assert not {lease.lease_id for lease in fresh} & set(holding)
        if not lost:
            self.known += [(lease, pod, me) for lease in fresh]

    @precondition(lambda self: self.known)
    @rule(
        data=st.data(),
        reward=st.sampled_from([0.0, 1.0, None, float("nan")]),
        keep=st.booleans(),
        times=st.integers(1, 2),
    )
    def finish(self, data: st.DataObject, reward: float | None, keep: bool, times: int) -> None:
        """A result arrives, maybe twice, maybe from a worker that is long gone."""
        index = data.draw(st.integers(0, len(self.known) - 1))
        lease, pod, life = self.known[index]
        if not keep:
            self.known.pop(index)
        for _ in range(times):
            self.deliver(lease, pod, life, reward)

    def deliver(self, lease: Lease, pod: str, life: str, reward: float | None) -> None:
        accepted = self.core.scheduler.result(kit.result(lease, pod, life, reward))
        if not accepted or reward is None or reward != reward:
            return
        key = (lease.group_id, lease.sample)
        if lease.lease_id in self.sent:
            assert self.counted[key] == lease.lease_id
            return
        assert key not in self.counted, f"{key} counted twice"
        self.sent[lease.lease_id], self.counted[key] = reward, lease.lease_id

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lease, pod, life = self.known.pop(data.draw(st.integers(0, len(self.known) - 1)))
        self.core.scheduler.release(lease.lease_id, Worker(pod, life))

    @rule(seconds=st.sampled_from([1.0, 8.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds
        self.core.scheduler.expire()

    @rule()
    def coordinator_is_killed(self) -> None:
        self.core.ledger.withdraw()
        self.core = kit.coordinator(self.folder, self.wanted, self.clock)

    @rule()
    def next_batch(self) -> None:
        step = len(self.batches) + 1
        body = kit.batch(self.core, step) if step <= STEPS else None
        if body is not None:
            self.batches[step] = body

    @precondition(lambda self: len(self.batches) > self.checkpoint)
    @rule(data=st.data())
    def same_batch_again(self, data: st.DataObject) -> None:
        step = data.draw(st.integers(self.checkpoint + 1, len(self.batches)))
        assert kit.batch(self.core, step) == self.batches[step]

    @precondition(lambda self: self.version < len(self.batches))
    @rule()
    def publish(self) -> None:
        self.version += 1
        self.core.weights.publish(kit.version(self.version))

    @precondition(lambda self: self.checkpoint < self.version)
    @rule()
    def commit(self) -> None:
        self.checkpoint = self.version
        message = CheckpointCommitted(
            attempt=1, step=self.checkpoint, version=self.version, bytes=1, manifest_key="k"
        )
        self.core.training.committed("rl", message)

    @invariant()
    def the_gate_holds(self) -> None:
        db = self.core.ledger.db
        kept = "SELECT COUNT(*) FROM groups WHERE state IN ('Admitted', 'Assigned', 'Covered')"
        total = db.value(kept) + groups.running(db, "rl")
        assert total <= min(ETA + self.version + 1, STEPS) * BATCH
        assert groups.running(db, "rl") <= 4

    @invariant()
    def the_ledger_agrees(self) -> None:
        db = self.core.ledger.db
        done = db.rows(
            "SELECT g.id, e.sample, e.reward, e.lease_id FROM episodes e "
            "JOIN groups g ON g.number = e.group_number WHERE e.state = 'Done'"
        )
        counted = {(row["id"], row["sample"]): row["lease_id"] for row in done}
        assert counted == self.counted
        assert all(row["reward"] == self.sent[row["lease_id"]] for row in done)

    @invariant()
    def no_group_is_in_two_batches(self) -> None:
        used = [g.group_id for body in self.batches.values() for g in decode(body).groups]
        assert len(used) == len(set(used)) == BATCH * len(self.batches)

    @invariant()
    def batches_have_an_advantage(self) -> None:
        for body in self.batches.values():
            for group in decode(body).groups:
                assert len(group.rewards) == len(group.trajectories) == 2
                assert len(set(group.rewards)) == 2

    @invariant()
    def blobs_are_pruned(self) -> None:
        """What no batch to come needs takes no space."""
        left = self.core.ledger.db.value(
            "SELECT COUNT(*) FROM trajectories t JOIN groups g ON g.number = t.group_number "
            "WHERE g.state IN ('Filtered', 'Covered', 'Failed', 'Cancelled')"
        )
        assert left == 0

    def teardown(self) -> None:
        try:
            self._finish_the_stage()
        finally:
            self.core.ledger.withdraw()
            shutil.rmtree(self.folder)

    def _finish_the_stage(self) -> None:
        """Whatever happened, a healthy worker brings the stage to its end."""
        self.known = []
        self.life = {pod: life + 1 for pod, life in self.life.items()}
        for turn in range(500):
            if self.version == STEPS:
                return
            self.beat(PODS[0])
            self.time_passes(1.0)
            self.lease(PODS[0], 6, lost=False)
            for lease, pod, life in self.known:
                self.deliver(lease, pod, life, float((lease.sample + turn) % 2))
            self.known = []
            self.next_batch()
            if self.version < len(self.batches):
                self.publish()
        raise AssertionError("the stage never ended")


def decode(body: bytes) -> Batch:
    return msgspec.msgpack.decode(body, type=Batch)


TestExactlyOnce = Ledger.TestCase
TestExactlyOnce.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    suppress_health_check=list(HealthCheck),
)


def test_the_tables_of_moves_are_complete() -> None:
    """Every state has its row, so that no move is allowed by omission."""
    assert set(GROUP_MOVES) == set(GroupState)
    assert set(EPISODE_MOVES) == set(EpisodeState)
