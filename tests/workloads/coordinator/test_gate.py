"""The staleness gate as a table; B = 4 groups a batch unless said otherwise."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sea_testing.coordinator import inprocess as kit
from sea_workloads.coordinator.gate import capacity
from sea_workloads.coordinator.ledger import registry

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
    ],
)
def test_table(change: dict[str, int], expected: int) -> None:
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
    with core.db.transaction():
        core.db.run("INSERT INTO batches VALUES ('rl', 1, 0, 0.5, 0.0, 1.0)")
        registry.add_anchor(core.db, kit.version(4, anchor=True), 1.0)
    assert core.publish_progress() == 1
