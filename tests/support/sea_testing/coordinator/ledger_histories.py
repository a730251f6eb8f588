"""Random histories of calls to one coordinator: kills, duplicates and reorderings.

Workers lose answers, die and come back, speak up after their lease was given to another; the
coordinator is killed between any two calls and goes on with its file. A history follows from its
number, and its choices are uniform. Played by `tests/runtime/coordinator/test_exactly_once.py`, and
with faults put into the product by `test_seeded_faults.py` there.
"""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

import msgspec

from sea_runtime.coordinator.ledger import groups
from sea_runtime.coordinator.ledger.episodes import Worker
from sea_runtime.wire.rollouts import Batch, Lease, LeaseRequest
from sea_runtime.wire.trainer import CheckpointCommitted
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.run_histories import MEMORY

PODS = ("rollout-0", "rollout-1")
BATCH, STEPS, ETA = 2, 3, 1
EVENTS = 40
HISTORIES = range(40)
REWARDS = (0.0, 1.0, 1.0, None, float("nan"))


class History:
    """One coordinator and the workers that call it."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.chance = folder, Random(number)
        self.events: list[str] = []
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

    def play(self) -> None:
        """Raises AssertionError, or whatever the product raises."""
        try:
            for pod in PODS:
                self.beat(pod)
            for _ in range(EVENTS):
                event = self.chance.choice(HAPPENS)
                self.events.append(event.__name__)
                event(self, self.chance.choice(PODS))
                for holds in ALWAYS:
                    holds(self)
            self.the_stage_ends()
        finally:
            self.core.ledger.withdraw()

    def incarnation(self, pod: str) -> str:
        return f"{pod}-life-{self.life[pod]}"

    def beat(self, pod: str) -> None:
        message = kit.beat(pod, "rollout", self.incarnation(pod), adopted=self.version)
        self.core.heartbeats.heard(message)

    # What happens.

    def worker_is_killed(self, pod: str) -> None:
        self.life[pod] += 1
        self.beat(pod)

    def worker_leases(self, pod: str) -> None:
        self.lease(pod, self.chance.randint(1, 6), lost=self.chance.random() < 1 / 3)

    def lease(self, pod: str, want: int, *, lost: bool) -> None:
        """With `lost` the answer doesn't arrive."""
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

    def result_arrives(self, _: str) -> None:
        """Maybe twice, now or again later, maybe from a worker that is long gone."""
        if not self.known:
            return
        index = self.chance.randrange(len(self.known))
        reward = self.chance.choice(REWARDS)
        held = self.known[index]
        if self.chance.random() < 1 / 2:
            self.known.pop(index)
        self.deliver(*held, reward)
        if self.chance.random() < 1 / 2:
            self.deliver(*held, reward)

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

    def worker_gives_back(self, _: str) -> None:
        if self.known:
            lease, pod, life = self.known.pop(self.chance.randrange(len(self.known)))
            self.core.scheduler.release(lease.lease_id, Worker(pod, life))

    def time_passes(self, _: str) -> None:
        self.pass_time(self.chance.choice([1.0, 8.0, 20.0]))

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.core.scheduler.expire()

    def coordinator_is_killed(self, _: str) -> None:
        self.core.ledger.withdraw()
        self.core = kit.coordinator(self.folder, self.wanted, self.clock)

    def next_batch(self, _: str = "") -> None:
        step = len(self.batches) + 1
        body = kit.batch(self.core, step) if step <= STEPS else None
        if body is not None:
            self.batches[step] = body

    def same_batch_again(self, _: str) -> None:
        if len(self.batches) > self.checkpoint:
            step = self.chance.randint(self.checkpoint + 1, len(self.batches))
            assert kit.batch(self.core, step) == self.batches[step]

    def publish(self, _: str = "") -> None:
        if self.version < len(self.batches):
            self.version += 1
            self.core.weights.publish(kit.version(self.version))

    def commit(self, _: str) -> None:
        if self.checkpoint < self.version:
            self.checkpoint = self.version
            message = CheckpointCommitted(
                attempt=1, step=self.checkpoint, version=self.version, bytes=1, manifest_key="k"
            )
            self.core.training.committed("rl", message)

    # What must hold after each of it.

    def the_gate_holds(self) -> None:
        db = self.core.ledger.db
        kept = "SELECT COUNT(*) FROM groups WHERE state IN ('Admitted', 'Assigned', 'Covered')"
        total = db.value(kept) + groups.running(db, "rl")
        assert total <= min(ETA + self.version + 1, STEPS) * BATCH
        assert groups.running(db, "rl") <= 4

    def the_ledger_agrees(self) -> None:
        done = self.core.ledger.db.rows(
            "SELECT g.id, e.sample, e.reward, e.lease_id FROM episodes e "
            "JOIN groups g ON g.number = e.group_number WHERE e.state = 'Done'"
        )
        counted = {(row["id"], row["sample"]): row["lease_id"] for row in done}
        assert counted == self.counted
        assert all(row["reward"] == self.sent[row["lease_id"]] for row in done)

    def no_group_is_in_two_batches(self) -> None:
        used = [g.group_id for body in self.batches.values() for g in decode(body).groups]
        assert len(used) == len(set(used)) == BATCH * len(self.batches)

    def batches_have_an_advantage(self) -> None:
        for body in self.batches.values():
            for group in decode(body).groups:
                assert len(group.rewards) == len(group.trajectories) == 2
                assert len(set(group.rewards)) == 2

    def blobs_are_pruned(self) -> None:
        """What no batch to come needs takes no space."""
        left = self.core.ledger.db.value(
            "SELECT COUNT(*) FROM trajectories t JOIN groups g ON g.number = t.group_number "
            "WHERE g.state IN ('Filtered', 'Covered', 'Failed', 'Cancelled')"
        )
        assert left == 0

    def the_stage_ends(self) -> None:
        """Whatever happened, a healthy worker brings the stage to its end."""
        self.known = []
        self.life = {pod: life + 1 for pod, life in self.life.items()}
        for turn in range(500):
            if self.version == STEPS:
                return
            self.beat(PODS[0])
            self.pass_time(1.0)
            self.lease(PODS[0], 6, lost=False)
            for lease, pod, life in self.known:
                self.deliver(lease, pod, life, float((lease.sample + turn) % 2))
            self.known = []
            self.next_batch()
            self.publish()
        raise AssertionError("the stage never ended")


HAPPENS: tuple[Callable[[History, str], None], ...] = (
    History.beat,
    History.worker_is_killed,
    History.worker_leases,
    History.worker_leases,
    History.result_arrives,
    History.result_arrives,
    History.result_arrives,
    History.worker_gives_back,
    History.time_passes,
    History.coordinator_is_killed,
    History.next_batch,
    History.same_batch_again,
    History.publish,
    History.commit,
)
ALWAYS: tuple[Callable[[History], None], ...] = (
    History.the_gate_holds,
    History.the_ledger_agrees,
    History.no_group_is_in_two_batches,
    History.batches_have_an_advantage,
    History.blobs_are_pruned,
)


def decode(body: bytes) -> Batch:
    return msgspec.msgpack.decode(body, type=Batch)


def play(numbers: Iterable[int] = HISTORIES) -> int:
    """How many histories were played; an error names the one that it is of, and what happened."""
    played = 0
    for number in numbers:
        with tempfile.TemporaryDirectory(prefix="ledger-", dir=MEMORY) as folder:
            history = History(Path(folder), number)
            try:
                history.play()
            except Exception as error:
                error.add_note(f"History {number}: {'; '.join(history.events)}")
                raise
        played += 1
    return played
