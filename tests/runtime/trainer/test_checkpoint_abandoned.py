"""Only what can't be part of any checkpoint is deleted."""

import json
from pathlib import Path

import pytest

from sea_data.object_store import ObjectNotFoundError
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint import head as heads
from sea_runtime.trainer.checkpoint.commit import Commits, folders_of_older, remove_abandoned
from sea_runtime.wire.checkpoints import entry_of, gone_back
from sea_testing.checkpoints import commit, restored
from sea_testing.waiting import wait_for

pytestmark = pytest.mark.component
ROOT = "x/checkpoints/"


@pytest.mark.parametrize(
    ("objects", "deleted"),
    [
        (["step-000001-a2/rank-00000.state"], True),
        (["step-1000001-a2/rank-00000.state"], True),
        (["step-000001-a2/rank-00000.state", "step-000001-a2/manifest.json"], True),
        (["step-000001-a3/rank-00000.state"], False),
        (["step-000001-a4/rank-00000.state"], False),
        (["step-000001-a20/rank-00000.state"], False),
        (["step-000001-a2.old/rank-00000.state"], False),
        (["other/step-000001-a2/rank-00000.state"], False),
        (["step-000001-a2"], False),
        (["head.json"], False),
    ],
)
def test_folders_that_attempt_3_deletes_unless_they_are_listed(
    objects: list[str], deleted: bool
) -> None:
    found = folders_of_older([ROOT + one for one in objects], ROOT, 3)
    assert found == ({f"{ROOT}{objects[0].split('/')[0]}/"} if deleted else set())


def test_another_stage_is_not_touched() -> None:
    assert not folders_of_older(["y/checkpoints/step-000001-a1/rank-00000.state"], ROOT, 3)


@pytest.fixture
def run(tmp_path: Path) -> str:
    return f"s3://runs/{tmp_path.name}"


def left(store: ObjectStore, commits: Commits) -> set[str]:
    found = store.list(commits.folder + "/")
    return {one.url.removeprefix(commits.folder + "/").split("/")[0] for one in found}


def test_the_next_attempt_removes_what_the_last_one_left(
    store: ObjectStore, run: str, tmp_path: Path
) -> None:
    """Its checkpoints stay, and so does what a newer attempt has begun to write."""
    first = Commits(store, run, "stage", 1)
    commit(store, first, 1)
    store.put(f"{first.step_folder(2)}/rank-00000.state", b"never committed")
    newer = Commits(store, run, "stage", 3)
    store.put(f"{newer.step_folder(2)}/rank-00000.state", b"being written")
    second = Commits(store, run, "stage", 2)
    found = restored(second)
    assert found is not None
    assert found.step == 1
    kept = {"head.json", "step-000001-a1", "step-000002-a3"}
    wait_for("the deletion", lambda: left(store, second) == kept)
    assert found.ledger is not None
    for one in (*found.objects, found.ledger):
        assert store.exists(second.url(one.key))


def test_what_a_manifest_names_is_kept_in_any_folder(store: ObjectStore, run: str) -> None:
    first = Commits(store, run, "stage", 1)
    commit(store, first, 3, borrowed=first.key(f"{first.step_folder(2)}/rank-00000.state"))
    second = Commits(store, run, "stage", 2)
    remove_abandoned(second, second.fence())
    assert left(store, second) == {"head.json", "step-000002-a1", "step-000003-a1"}


def test_what_a_kill_kept_between_the_head_and_its_deletions_is_removed(
    store: ObjectStore, run: str
) -> None:
    """Of retention and of going back; what a person has pinned or may look at stays."""
    first = Commits(store, run, "stage", 1)
    remove_abandoned(first, first.fence())
    for step in (1, 2, 3, 4):
        commit(store, first, step, keep=4)
    first.set_aside(first.read()[0].checkpoints[0])
    first.change(lambda head: heads.pinned(head, entry_of(head, 3), True))
    first.change(lambda head: gone_back(head, 2)[0])
    second = Commits(store, run, "stage", 2)
    remove_abandoned(second, second.fence())
    kept = {"head.json", "step-000001-a1", "step-000002-a1", "step-000003-a1"}
    assert left(store, second) == kept


def test_no_checkpoint_goes_with_a_head_that_was_lost(store: ObjectStore, run: str) -> None:
    first = Commits(store, run, "stage", 1)
    commit(store, first, 1)
    store.put(f"{first.step_folder(2)}/rank-00000.state", b"never committed")
    store.delete(f"{first.folder}/head.json")
    second = Commits(store, run, "stage", 2)
    remove_abandoned(second, second.fence())
    assert left(store, second) == {"head.json", "step-000001-a1"}
    # Nor once the head names a checkpoint again: of the line that began anew.
    commit(store, second, 1)
    third = Commits(store, run, "stage", 3)
    for _ in range(2):
        remove_abandoned(third, third.fence())
    assert left(store, third) == {"head.json", "step-000001-a1", "step-000001-a2"}
    head, _ = third.read()
    assert [one.manifest_key.split("/")[-2] for one in head.kept] == ["step-000001-a1"]


def test_what_a_rollback_of_an_older_release_left_pinned_is_kept(
    store: ObjectStore, run: str
) -> None:
    """Its head doesn't list it; the first attempt of this release would have deleted it."""
    first = Commits(store, run, "stage", 1)
    for step in (1, 2, 3):
        commit(store, first, step, keep=4)
    head = json.loads(store.get(f"{first.folder}/head.json"))
    del head["checkpoints"][1:]
    old = {name: head[name] for name in ("attempt", "checkpoints", "damaged")}
    store.put(f"{first.folder}/head.json", json.dumps(old).encode())
    store.put(f"{first.step_folder(4)}/rank-00000.state", b"never committed")
    second = Commits(store, run, "stage", 2)
    remove_abandoned(second, second.fence())
    assert [one.step for one in second.read()[0].kept] == [2, 3]
    # They are known from now on: what is found later was left by a kill.
    store.put(
        f"{first.step_folder(5)}/manifest.json", store.get(f"{first.step_folder(2)}/manifest.json")
    )
    third = Commits(store, run, "stage", 3)
    remove_abandoned(third, third.fence())
    kept = {"head.json", "step-000001-a1", "step-000002-a1", "step-000003-a1"}
    assert left(store, third) == kept


def test_nothing_is_deleted_while_a_manifest_cannot_be_read(store: ObjectStore, run: str) -> None:
    first = Commits(store, run, "stage", 1)
    commit(store, first, 1)
    store.put(f"{first.step_folder(2)}/rank-00000.state", b"x")
    store.delete(f"{first.step_folder(1)}/manifest.json")
    second = Commits(store, run, "stage", 2)
    with pytest.raises(ObjectNotFoundError):
        remove_abandoned(second, second.fence())
    assert left(store, second) == {"head.json", "step-000001-a1", "step-000002-a1"}
