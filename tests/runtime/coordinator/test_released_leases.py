"""Episodes that a worker gives back because its pod leaves: issued again once, without blame."""

from pathlib import Path

import pytest

from sea_runtime.coordinator.app import Components
from sea_runtime.coordinator.ledger.episodes import Worker
from sea_runtime.wire.rollouts import Lease, LeaseRequest
from sea_testing.coordinator import inprocess as kit

LEAVES, STAYS = "job-rollout-0", "job-rollout-1"


@pytest.fixture
def core(tmp_path: Path) -> Components:
    found = kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock())
    for pod in (LEAVES, STAYS):
        found.heartbeats.heard(kit.beat(pod, "rollout", "a", adopted=0))
    return found


def lease(core: Components, pod: str, want: int) -> list[Lease]:
    found = core.scheduler.lease(LeaseRequest(pod=pod, incarnation="a", want=want))
    return found.leases if found else []


def test_an_unfinished_episode_is_issued_again_once(core: Components) -> None:
    first, second = lease(core, LEAVES, 2)
    assert core.scheduler.result(kit.result(first, LEAVES, "a", 1.0))
    leaving = Worker(LEAVES, "a")
    assert core.scheduler.release(second.lease_id, leaving)
    row = kit.some(core.ledger.db.row("SELECT failures, error FROM episodes WHERE sample = 1"))
    assert row["failures"] == 0, "nobody's fault"
    (again,) = lease(core, STAYS, 1)
    assert (again.group_id, again.sample) == (second.group_id, second.sample)
    assert again.seed == second.seed
    # What the pod still sends, whenever it comes, neither counts nor takes the episode back.
    assert not core.scheduler.result(kit.result(second, LEAVES, "a", 1.0))
    assert not core.scheduler.release(second.lease_id, leaving)
    assert core.scheduler.result(kit.result(again, STAYS, "a", 0.0))
    rows = core.ledger.db.rows("SELECT reward FROM episodes WHERE state = 'Done'")
    assert sorted(one["reward"] for one in rows) == [0.0, 1.0]


def test_nobody_gives_back_what_is_anothers_or_done(core: Components) -> None:
    (first,) = lease(core, STAYS, 1)
    assert not core.scheduler.release(first.lease_id, Worker(LEAVES, "a"))
    assert not core.scheduler.release(first.lease_id, Worker(STAYS, "an earlier life"))
    assert core.scheduler.result(kit.result(first, STAYS, "a", 1.0))
    assert core.scheduler.release(first.lease_id, Worker(STAYS, "a")), "acknowledged"
    done = core.ledger.db.value("SELECT COUNT(*) FROM episodes WHERE state = 'Done'")
    assert done == 1
