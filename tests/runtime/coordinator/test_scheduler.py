"""The staleness gate as a table, and what it lets workers lease; B = 4 groups per batch."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sea_runtime.coordinator.app import Components
from sea_runtime.coordinator.ledger import registry
from sea_runtime.coordinator.staleness_gate import capacity, may_generate
from sea_runtime.wire.rollouts import Lease, LeaseRequest, Trajectory
from sea_testing.coordinator import inprocess as kit

BASE = {
    "max_concurrent": 100,
    "running": 0,
    "accepted": 0,
    "version": 0,
    "staleness": 2,
    "batch": 4,
    "steps": 50,
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 12),
        ({"staleness": 0}, 4),
        ({"running": 12}, 0),
        ({"running": 5, "accepted": 7}, 0),
        ({"running": 5, "accepted": 4}, 3),
        ({"version": 1, "accepted": 12}, 4),
        ({"version": 1, "accepted": 12, "running": 4}, 0),
        ({"max_concurrent": 3}, 3),
        ({"max_concurrent": 3, "running": 3}, 0),
        ({"max_concurrent": 3, "running": 9}, 0),
        ({"steps": 1}, 4),
        ({"version": 49, "accepted": 196}, 4),
        ({"version": 50, "accepted": 200}, 0),
        ({"accepted": 40}, 0),
        ({"batch": 16, "max_concurrent": 1000}, 48),
        ({"running": 12, "kept_share": 0.5}, 6),  # half of those that run will be dropped
        ({"running": 12, "accepted": 6, "kept_share": 0.5}, 0),
        ({"running": 12, "kept_share": 0.5, "max_concurrent": 14}, 2),
        ({"running": 5, "accepted": 4, "kept_share": 0.9}, 3),
    ],
)
def test_capacity_follows_areals_formula(change: dict[str, Any], expected: int) -> None:
    """AReaL's formula, bounded by concurrency and by what the stage can still use."""
    assert capacity(**{**BASE, **change}) == expected


@given(
    version=st.integers(0, 50),
    accepted=st.integers(0, 300),
    running=st.integers(0, 100),
    staleness=st.integers(0, 8),
)
def test_never_more_than_the_bound(
    version: int, accepted: int, running: int, staleness: int
) -> None:
    """Whatever was issued before, no group is issued that would be staler than allowed."""
    found = capacity(
        **{
            **BASE,
            "version": version,
            "accepted": accepted,
            "running": running,
            "staleness": staleness,
        }
    )
    assert found >= 0
    if found:
        assert accepted + running + found <= (staleness + version + 1) * 4
        assert accepted + running + found <= 50 * 4


def test_versions_of_a_lost_future_do_not_widen_the_bound(tmp_path: Path) -> None:
    """A restored ledger knows the anchors, but not the batches, that came after its checkpoint."""
    core = kit.coordinator(tmp_path, kit.desired(kit.spec(steps=9)), kit.Clock())
    db = core.ledger.db
    with db.transaction():
        db.run("INSERT INTO batches VALUES ('rl', 1, 0, 0.5, 0.0, 1.0, 0)")
        registry.add_anchor(db, kit.version(4, anchor=True), 1.0)
    assert core.weights.published_steps(core.job.desired.spec.stages[0]) == 1


@pytest.mark.parametrize(
    ("accepted", "running", "served", "allowed"),
    [
        (12, 4, 2, True),
        (12, 8, 2, False),
        (12, 8, 3, True),
        (12, 8, 4, True),
        (40, 9, 3, True),
        (0, 0, -1, True),
    ],
)
def test_an_engine_that_lags_takes_what_its_own_version_allows(
    accepted: int, running: int, served: int, allowed: bool
) -> None:
    """Version 3 is the newest, eta 1. One that doesn't lag always may: else nobody would go on."""
    found = may_generate(
        accepted=accepted, running=running, served=served, version=3, staleness=1, batch=4
    )
    assert found is allowed


def take_all(core: Components, adopted: int) -> int:
    """An engine at `adopted` leases and ends all that it may, in order; how many episodes."""
    core.membership.heard(kit.beat("rollout-0", "rollout", "life", adopted=adopted))
    done = 0
    request = LeaseRequest(pod="rollout-0", incarnation="life", want=100)
    while found := core.scheduler.lease(request):
        for lease in found.leases:
            made = kit.result(lease, "rollout-0", "life", float(lease.sample))
            own = Trajectory.pack([5, 6], [0, 1], [0.0, -0.5], [-1, adopted])
            assert core.scheduler.result(
                msgspec.structs.replace(made, trajectory=own.encode(), mean_version=float(adopted))
            )
            done += 1
    return done


@pytest.mark.parametrize("staleness", [0, 1, 2, 3])
def test_no_batch_is_staler_than_allowed_however_engines_lag(
    tmp_path: Path, staleness: int
) -> None:
    """Its engine is always as far behind as readiness lets it, and only catches up when idle."""
    spec = kit.spec(steps=12, maxStaleness=staleness, maxConcurrentGroups=100)
    core = kit.coordinator(tmp_path, kit.desired(spec), kit.Clock())
    for step in range(1, 13):
        take_all(core, core.weights.required("policy"))
        while kit.batch(core, step) is None:
            assert take_all(core, step - 1), "a trainer that waits for ever"
        core.weights.publish(kit.version(step))
    found = [row[0] for row in core.ledger.db.rows("SELECT staleness FROM batches ORDER BY step")]
    assert max(found) <= staleness, found


@pytest.mark.parametrize("later", [1, 2, 8])
def test_an_edit_of_the_batch_neither_starves_the_gate_nor_opens_it(
    tmp_path: Path, later: int
) -> None:
    """Five batches of four groups, then others: counted by today's size, they bound as before.

    Groups that waited for a batch of four make more than one smaller batch, which are staler.
    """
    bounds: dict[str, Any] = {"steps": 20, "maxStaleness": 1, "maxConcurrentGroups": 100}
    core = kit.coordinator(tmp_path, kit.desired(kit.spec(promptsPerStep=4, **bounds)), kit.Clock())
    db = core.ledger.db
    for step in range(1, 21):
        if step == 6:
            now = kit.spec(promptsPerStep=later, **bounds)
            core.job.adopt(kit.desired(now, generation=2))
        size = 4 if step < 6 else later
        take_all(core, step - 1)
        assert kit.batch(core, step), "a trainer that waits for ever"
        assert db.value("SELECT COUNT(*) FROM groups WHERE step = ?", step) == size
        core.weights.publish(kit.version(step))
    found = [row[0] for row in db.rows("SELECT staleness FROM batches ORDER BY step")]
    assert max(found[-3:] if later < 4 else found) <= 1, found


def test_workers_that_wait_don_t_ask_the_ledger_one_by_one(tmp_path: Path) -> None:
    """All of them look again at every result; what comes, comes to them all the same."""
    core = kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock())
    asked: list[str] = []

    def ask(pod: str, want: int = 64, holding: list[str] | None = None) -> list[Lease]:
        asked.clear()
        request = LeaseRequest(pod=pod, incarnation="life", want=want, holding=holding or [])
        found = core.scheduler.lease(request)
        return found.leases if found else []

    for pod in ("a", "b", "c"):
        core.heartbeats.heard(kit.beat(pod, "rollout", "life", adopted=0))
    given = ask("a", want=4)
    held = [lease.lease_id for lease in given]
    while more := ask("a", holding=held):
        held += [lease.lease_id for lease in more]
    core.ledger.db._connection.set_trace_callback(asked.append)
    # "a" has found nothing more: no transaction, no gate.
    for pod in ("b", "c"):
        assert ask(pod) == []
        assert asked
        assert not [one for one in asked if "BEGIN" in one or "'Issued'" in one]
    # What was lost on its way is this worker's alone.
    assert ask("b") == []
    assert given[0].lease_id in [lease.lease_id for lease in ask("a")]
    # A result makes room, an edit of the spec may.
    assert ask("b") == []
    for lease in given:
        assert core.scheduler.result(kit.result(lease, "a", "life", float(lease.sample)))
    core.job.adopt(kit.desired(kit.spec(maxStaleness=2, steps=9), generation=2))
    found = ask("c")
    assert found
    assert not {lease.lease_id for lease in found} & set(held)
