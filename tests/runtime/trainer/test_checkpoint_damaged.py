"""A damaged newest checkpoint is set aside, and the one before is used by itself."""

from pathlib import Path

import pytest

from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.errors import CheckpointError
from sea_testing.checkpoints import commit, restored

pytestmark = pytest.mark.component

OTHER_JOB = "another-run/stages/stage/checkpoints/step-000002-a1/rank-00000.state"


@pytest.fixture
def run(tmp_path: Path) -> str:
    return f"s3://runs/{tmp_path.name}"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("rank-00000.state", b"y"),
        ("rank-00000.state", b""),
        ("rank-00000.state", None),
        ("ledger.sqlite", None),
        ("ledger.sqlite", b"xx"),
        ("manifest.json", None),
        ("manifest.json", b'{"stage": "sta'),
        ("manifest.json", b'{"format": 2}'),
        ("rank-00000.json", None),
        ("rank-00000.json", b"{}"),
    ],
)
def test_the_checkpoint_before_a_damaged_one_is_used(
    store: ObjectStore, run: str, tmp_path: Path, name: str, body: bytes | None
) -> None:
    first = Commits(store, run, "stage", 1)
    commit(store, first, 1)
    commit(store, first, 2)
    url = f"{first.step_folder(2)}/{name}"
    store.delete(url) if body is None else store.put(url, body)
    second = Commits(store, run, "stage", 2)
    found = restored(second)
    assert found is not None
    assert found.step == 1
    head, _ = second.read()
    assert [one.step for one in head.checkpoints] == [1]
    assert [one.step for one in head.damaged] == [2]
    assert restored(Commits(store, run, "stage", 3)) == found


def test_a_manifest_of_a_newer_release_is_not_set_aside(store: ObjectStore, run: str) -> None:
    """The checkpoint may be sound: going back would throw its steps away."""
    first = Commits(store, run, "stage", 1)
    for step in (1, 2):
        commit(store, first, step)
    store.put(f"{first.step_folder(2)}/manifest.json", b'{"format": 99}')
    second = Commits(store, run, "stage", 2)
    with pytest.raises(CheckpointError, match=r"format 99.*sea checkpoint rollback"):
        restored(second)
    assert [one.step for one in second.read()[0].checkpoints] == [1, 2]


def test_a_manifest_of_another_job_is_damage(store: ObjectStore, run: str, tmp_path: Path) -> None:
    first = Commits(store, run, "stage", 1)
    commit(store, first, 1)
    commit(store, first, 2, borrowed=OTHER_JOB)
    found = restored(Commits(store, run, "stage", 2))
    assert found is not None
    assert found.step == 1
    assert store.exists(f"s3://runs/{OTHER_JOB}")


def test_if_all_are_damaged_nothing_begins_from_scratch(
    store: ObjectStore, run: str, tmp_path: Path
) -> None:
    first = Commits(store, run, "stage", 1)
    for step in (1, 2):
        commit(store, first, step)
        store.put(f"{first.step_folder(step)}/rank-00000.state", b"y")
    with pytest.raises(CheckpointError, match=r"No checkpoint .* differs .* head\.json"):
        restored(Commits(store, run, "stage", 2))
    with pytest.raises(CheckpointError, match="No checkpoint"):
        restored(Commits(store, run, "stage", 3))
