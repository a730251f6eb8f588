"""A spec that can't be written down: memory and ledger stay in agreement."""

from pathlib import Path

import pytest

from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_runtime.coordinator.errors import LedgerUnavailableError
from sea_runtime.coordinator.job import DOCUMENT
from sea_testing.coordinator import inprocess as kit


def test_a_full_volume_leaves_the_old_spec_in_force(tmp_path: Path) -> None:
    """Once there is room, the same spec sent again takes effect in both."""
    old = kit.desired(kit.spec())
    core = kit.coordinator(tmp_path, old, kit.Clock())
    changes: list[int] = []
    core.job.on_change(lambda: changes.append(core.job.attempt))
    new = kit.desired(kit.spec(), attempt=2, drain=True)
    with kit.no_room(tmp_path / "ledger.sqlite-wal"), pytest.raises(LedgerUnavailableError):
        core.job.adopt(new)
    assert core.job.desired == old
    assert changes == []
    assert core.ledger.db.document(DOCUMENT, CoordinatorSpec) == old
    core.job.adopt(new)
    assert core.job.desired == core.ledger.db.document(DOCUMENT, CoordinatorSpec) == new
    assert changes == [2]
