"""Groups that are too old for a batch, what a running one counts for, episodes that are overdue."""

from pathlib import Path
from typing import Any

import pytest

from sea_runtime.coordinator import stage_plan
from sea_runtime.coordinator.app import Components
from sea_runtime.coordinator.ledger import batches, groups
from sea_runtime.coordinator.ledger.groups import GroupState
from sea_runtime.wire.rollouts import Batch, Lease, LeaseRequest
from sea_testing.coordinator import inprocess as kit

POD = "job-rollout-0"


@pytest.fixture
def clock() -> kit.Clock:
    return kit.Clock()


def coordinator(folder: Path, clock: kit.Clock, **rl: Any) -> Components:
    core = kit.coordinator(folder, kit.desired(kit.spec(steps=9, maxStaleness=2, **rl)), clock)
    hear(core)
    return core


def hear(core: Components) -> None:
    core.heartbeats.heard(kit.beat(POD, "rollout", "a", adopted=0))


def lease(core: Components, want: int) -> list[Lease]:
    found = core.scheduler.lease(LeaseRequest(pod=POD, incarnation="a", want=want))
    return found.leases if found else []


def play(core: Components, groups_: int) -> None:
    """Ends so many groups of two, with unequal rewards."""
    for number, one in enumerate(lease(core, 2 * groups_)):
        assert core.scheduler.result(kit.result(one, POD, "a", float(number % 2), version=6.0))


def ages(core: Components, *of_groups: float) -> None:
    """Sets the mean version of each group's first trajectory, in the order of groups."""
    db = core.ledger.db
    with db.transaction():
        for number, version in enumerate(of_groups, start=1):
            db.run(
                "UPDATE episodes SET mean_version = ? WHERE group_number = ? AND sample = 0",
                version,
                number,
            )


@pytest.mark.parametrize(
    ("max_age", "expired"), [(None, []), (5, [1]), (3, [1, 2]), (2, [1, 2, 3])]
)
def test_a_group_with_a_trajectory_that_is_too_old_is_dropped_and_replaced(
    tmp_path: Path, clock: kit.Clock, max_age: int | None, expired: list[int]
) -> None:
    core = coordinator(tmp_path, clock, **({} if max_age is None else {"maxAge": max_age}))
    db, stage = core.ledger.db, kit.some(core.job.running_stage)
    play(core, 4)
    ages(core, 0.0, 2.5, 3.9, 6.0)
    limit = stage_plan.max_age(stage_plan.rl_block(stage))
    assert limit == (6 if max_age is None else max_age)
    before = core.scheduler._capacity(stage, 0)
    assert batches.expire(db, "rl", 6, limit, clock.now) == len(expired)
    gone = db.rows("SELECT number FROM groups WHERE state = ?", GroupState.EXPIRED)
    assert [row["number"] for row in gone] == expired
    assert core.scheduler._capacity(stage, 0) == min(4, before + len(expired))
    assert batches.expire(db, "rl", 6, limit, clock.now) == 0
    left = 4 - len(expired)
    assert batches.assign(db, "rl", 1, left, 6, clock.now)
    body = kit.whole(batches.fixed(db, "rl", 1))
    assert Batch.decode(body).expired_groups == len(expired)


def test_the_trainer_gets_no_group_that_is_too_old(tmp_path: Path, clock: kit.Clock) -> None:
    core = coordinator(tmp_path, clock, maxAge=2)
    play(core, 3)
    ages(core, -3.0)
    batch = Batch.decode(kit.some(kit.batch(core, 1)))
    assert [group.group_id for group in batch.groups] == ["rl-000001", "rl-000002"]
    assert batch.expired_groups == 1


def test_the_reward_of_a_step_leaves_out_groups_that_are_too_old(
    tmp_path: Path, clock: kit.Clock
) -> None:
    """No step trains on them; and they are in no later step's reward either."""
    core = coordinator(tmp_path, clock, maxAge=2)
    play(core, 4)
    ages(core, -3.0)
    with core.ledger.db.transaction():
        for number, mean in enumerate((1.0, 0.25, 0.5, 0.75), start=1):
            core.ledger.db.run("UPDATE groups SET mean_reward = ? WHERE number = ?", mean, number)
    assert Batch.decode(kit.some(kit.batch(core, 1))).mean_reward == 0.5
    play(core, 2)
    assert Batch.decode(kit.some(kit.batch(core, 2))).mean_reward == 0.5


def test_running_groups_count_by_the_share_that_is_kept(tmp_path: Path, clock: kit.Clock) -> None:
    """Once enough are known; not with staleness 0, where a batch has no room for one more."""
    core = coordinator(tmp_path, clock, maxConcurrentGroups=64)
    db, stage = core.ledger.db, kit.some(core.job.running_stage)
    assert core.scheduler._kept_share(stage) == 1.0
    with db.transaction():
        for number in range(20):
            db.run(
                "INSERT INTO groups (id, stage, kind, row_key, domain, samples, state) "
                "VALUES (?, 'rl', 'Train', 'x', 'shop', 2, ?)",
                f"old-{number}",
                GroupState.FILTERED if number % 4 else GroupState.COVERED,
            )
    assert groups.kept_share(db, "rl") == 0.25
    assert core.scheduler._kept_share(stage) == 0.25
    core.job.adopt(kit.desired(kit.spec(steps=9, maxStaleness=0), generation=2))
    assert core.scheduler._kept_share(kit.some(core.job.running_stage)) == 1.0


def test_an_episode_that_is_overdue_runs_again_though_its_worker_lives(
    tmp_path: Path, clock: kit.Clock
) -> None:
    core = coordinator(tmp_path, clock, episodeTimeoutSeconds=600)
    first = lease(core, 1)[0]
    for seconds, running in ((600.0, 1), (70.0, 0)):
        clock.now += seconds
        hear(core)
        core.scheduler.expire()
        held = core.ledger.db.value("SELECT COUNT(*) FROM episodes WHERE state = 'Leased'")
        assert held == running
    again = lease(core, 1)[0]
    assert (again.group_id, again.sample) == (first.group_id, first.sample)
    assert not core.scheduler.result(kit.result(first, POD, "a", 1.0)), "its lease is another's"
