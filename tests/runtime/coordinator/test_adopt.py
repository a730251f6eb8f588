"""A wish that can't be written down: memory and ledger go on telling the same."""

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_runtime.coordinator import adopt
from sea_runtime.coordinator.core import DESIRED
from sea_runtime.coordinator.ledger import documents
from sea_testing.coordinator import inprocess as kit


@contextmanager
def no_room(file: Path) -> Iterator[None]:
    """No file of this process may become larger than this one is: SQLite's COMMIT fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_volume_leaves_the_old_wish_in_force(tmp_path: Path) -> None:
    """Once there is room, the same wish sent again takes effect in both."""
    old = kit.desired(kit.spec())
    core = kit.coordinator(tmp_path, old, kit.Clock())
    core.drain_saved, core.head_read = "saved", "read"
    new = kit.desired(kit.spec(), attempt=2, drain=True)
    with no_room(tmp_path / "ledger.sqlite-wal"), pytest.raises(sqlite3.OperationalError):
        adopt.adopt(core, core.db, new)
    assert core.adopted == old
    assert (core.drain_saved, core.head_read) == ("saved", "read")
    assert documents.get(core.db, DESIRED, CoordinatorSpec) == old
    adopt.adopt(core, core.db, new)
    assert core.adopted == documents.get(core.db, DESIRED, CoordinatorSpec) == new
