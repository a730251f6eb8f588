"""The lock of a cluster's name, whose file is removed with the cluster."""

import threading
from pathlib import Path

import pytest

from sea_devcluster.cluster import DevCluster
from sea_devcluster.locks import exclusive

PATIENCE = 120.0
"""Ends a hang."""


def _nobody() -> None:
    raise AssertionError("nobody else should have it")


def test_down_leaves_no_lock_file(tmp_path: Path) -> None:
    DevCluster("gone", state_root=tmp_path).down()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_waited_for_a_removed_file_locks_the_new_one(tmp_path: Path) -> None:
    """Otherwise a third process would lock a new file of that name at the same time."""
    path = tmp_path / "lock"
    waits, got, leave = threading.Event(), threading.Event(), threading.Event()

    def second() -> None:
        with exclusive(path, waits.set):
            got.set()
            leave.wait(PATIENCE)

    thread = threading.Thread(target=second)
    with exclusive(path, _nobody):
        thread.start()
        assert waits.wait(PATIENCE)
        assert not got.is_set()
        path.unlink()
    assert got.wait(PATIENCE)
    with pytest.raises(AssertionError, match="nobody else"), exclusive(path, _nobody):
        pass
    leave.set()
    thread.join(PATIENCE)
