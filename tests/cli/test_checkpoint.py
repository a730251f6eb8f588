"""`sea checkpoint` on a real object store: shown, verified, pinned, gone back to, deleted."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sea_cli.app import main
from sea_runtime.coordinator import run_record, snapshot
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint.commit import Commits, remove_abandoned
from sea_testing.checkpoints import commit

pytestmark = pytest.mark.component
Sea = Callable[..., int]


@pytest.fixture
def run(store: ObjectStore, tmp_path: Path) -> str:
    """A run with steps 10, 20 and 30, and a neighbour whose name begins alike."""
    url = f"s3://runs/{tmp_path.name}"
    for one in (url, f"{url}-2"):
        commits = Commits(store, one, "rl", 1)
        for step in (10, 20, 30):
            commit(store, commits, step, keep=9)
    return url


def suspend(store: ObjectStore, run: str, step: int = 30, attempt: int = 1) -> None:
    note = {"checkpoint": ["rl", step], "stageIndex": 0, "attempt": attempt}
    store.put(f"{run}/ledger/drained.json", json.dumps(note).encode())


def steps(store: ObjectStore, run: str) -> list[int]:
    return [one.step for one in Commits(store, run, "rl", 0).read()[0].checkpoints]


def sea(command: str, run: str, step: int | None = None, attempt: int | None = None) -> int:
    where = ["--stage", "rl", "--step", str(step)] if step else []
    which = ["--attempt", str(attempt)] if attempt else []
    return main(["checkpoint", command, run, *where, *which])


def test_shown_and_verified(
    store: ObjectStore, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sea("list", run) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("10", "20", "30", "newest"))
    assert sea("inspect", run, 20) == 0
    assert "step-000020-a1/rank-00000.state" in capsys.readouterr().out
    assert sea("verify", run) == 0
    assert "rl step 30: sound" in capsys.readouterr().out
    store.put(f"{run}/stages/rl/checkpoints/step-000020-a1/rank-00000.state", b"y")
    store.delete(f"{run}/stages/rl/checkpoints/step-000030-a1/ledger.sqlite")
    assert sea("verify", run) == 1
    said = capsys.readouterr().out
    assert "rl step 10: sound" in said
    assert "step-000020-a1/rank-00000.state differs from what was saved" in said
    assert "step-000030-a1/ledger.sqlite is missing." in said


def test_a_suspended_job_goes_back_and_no_neighbour_is_touched(
    store: ObjectStore, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sea("rollback", run, 10) == 1
    assert "Set spec.suspend to true" in capsys.readouterr().err
    suspend(store, run, 20)
    assert sea("rollback", run, 10) == 1, "a drain before the newest checkpoint"
    suspend(store, run)
    neighbour = [one.url for one in store.list(f"{run}-2/")]
    assert sea("rollback", run, 10) == 0
    assert "goes on from step 10" in capsys.readouterr().out
    assert steps(store, run) == [10]
    assert [one.url for one in store.list(f"{run}-2/")] == neighbour
    left = {one.url.split("/")[-2] for one in store.list(f"{run}/stages/rl/checkpoints/step")}
    assert left == {"step-000010-a1"}


def test_a_pinned_one_that_the_run_has_gone_back_behind_is_still_listed(
    store: ObjectStore, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody else deletes its objects: a person must find them."""
    assert sea("pin", run, 20) == 0
    suspend(store, run)
    assert sea("rollback", run, 10) == 0
    assert "Pinned: its objects stay until you delete them." in capsys.readouterr().out
    assert sea("list", run) == 0
    assert "pinned, left" in capsys.readouterr().out
    left = {one.url.split("/")[-2] for one in store.list(f"{run}/stages/rl/checkpoints/step")}
    assert left == {"step-000010-a1", "step-000020-a1"}


def test_a_suspended_job_goes_back_more_than_once(
    store: ObjectStore, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A person who chose the wrong step chooses again, in both directions, before it resumes."""
    assert sea("pin", run, 30) == 0
    suspend(store, run)
    for step in (20, 30, 10):
        assert sea("rollback", run, step) == 0, capsys.readouterr().err
        assert steps(store, run)[-1] == step
    # Where the job runs again, the note of its drain is no proof any more.
    commit(store, Commits(store, run, "rl", 1), 20, keep=9)
    assert sea("rollback", run, 10) == 1, "drained, and then not suspended after all"
    Commits(store, run, "rl", 2).fence()
    assert sea("rollback", run, 10) == 1
    assert "Set spec.suspend to true" in capsys.readouterr().err


def test_the_ledger_of_the_drain_is_not_that_of_the_checkpoint_gone_back_to(
    store: ObjectStore, run: str
) -> None:
    """The coordinator that resumes restores the snapshot in the checkpoint."""
    suspend(store, run)
    assert sea("rollback", run, 10) == 0
    note = json.loads(store.get(f"{run}/ledger/drained.json"))
    newest = Commits(store, run, "rl", 0).read()[0].newest
    assert newest is not None
    assert not snapshot.applies(note, snapshot.Checkpoint("rl", newest))


@pytest.mark.parametrize("head", [None, '{"attempt": 1, "opened": 1}'])
def test_before_its_first_checkpoint_nothing_is_wrong_with_a_run(
    store: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], head: str | None
) -> None:
    run = f"s3://runs/{tmp_path.name}"
    spec = {"stages": [{"name": "rl"}]}
    entry = run_record.SpecEntry(time="", generation=1, spec=spec)
    store.put(f"{run}/run.json", run_record.RunRecord(specs=[entry]).to_bytes())
    if head:
        store.put(f"{run}/stages/rl/checkpoints/head.json", head.encode())
    for command in (["verify", run], ["verify", run, "--stage", "rl"], ["list", run]):
        assert main(["checkpoint", *command]) == 0
        assert "is committed yet." in capsys.readouterr().out
    assert main(["checkpoint", "list", run, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == ({"rl"} if head else set())
    assert main(["checkpoint", "verify", run, "--step", "3"]) == 1
    assert "no checkpoint of step 3" in capsys.readouterr().err
    assert sea("inspect", run, 3) == 1
    assert "Stage rl has no checkpoint of step 3. It has steps none." in capsys.readouterr().err
    assert main(["checkpoint", "verify", run, "--stage", "sft"]) == 1
    assert "There is no checkpoint of stage sft" in capsys.readouterr().err


@pytest.fixture
def left(store: ObjectStore, run: str) -> str:
    """The run after it left step 30 pinned, went back to 10 and trained to 30 again."""
    assert sea("pin", run, 30) == 0
    suspend(store, run)
    assert sea("rollback", run, 10) == 0
    second = Commits(store, run, "rl", 2)
    second.fence()
    for step in (20, 30):
        commit(store, second, step, keep=9)
    return run


def test_a_checkpoint_that_the_run_has_left_is_verified_unpinned_and_deleted(
    store: ObjectStore, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sea("verify", left) == 0
    assert "rl step 30 of attempt 1, left: sound" in capsys.readouterr().out
    assert sea("inspect", left, 30) == 1
    assert "of the attempts 2, 1: name one with --attempt" in capsys.readouterr().err
    assert sea("inspect", left, 30, 1) == 0
    assert "step-000030-a1/rank-00000.state" in capsys.readouterr().out
    assert sea("delete", left, 30, 1) == 1
    assert "is pinned" in capsys.readouterr().err
    assert sea("unpin", left, 30, 1) == 0
    assert sea("delete", left, 30, 1) == 0
    assert not store.list(f"{left}/stages/rl/checkpoints/step-000030-a1")
    assert steps(store, left) == [10, 20, 30]
    assert sea("inspect", left, 30, 1) == 1
    assert "those of the step are of the attempts 2" in capsys.readouterr().err


def test_a_suspended_job_goes_on_from_a_checkpoint_that_it_has_left(
    store: ObjectStore, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sea("rollback", left, 30, 1) == 1, "an attempt has begun since the drain"
    assert "missing, or older than the newest checkpoint or attempt" in capsys.readouterr().err
    suspend(store, left, attempt=2)
    assert sea("rollback", left, 30, 1) == 0
    assert "The checkpoint of step 20 is not part of the run any more." in capsys.readouterr().out
    head, _ = Commits(store, left, "rl", 0).read()
    assert [(one.step, one.attempt) for one in head.checkpoints] == [(10, 1), (30, 1)]
    assert not head.kept
    found = {one.url.split("/")[-2] for one in store.list(f"{left}/stages/rl/checkpoints/step")}
    assert found == {"step-000010-a1", "step-000030-a1"}


def test_a_run_whose_head_was_lost_goes_on_from_what_is_left(
    store: ObjectStore, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stage begins from scratch, is suspended before a checkpoint, and goes back."""
    store.delete(f"{run}/stages/rl/checkpoints/head.json")
    second = Commits(store, run, "rl", 2)
    remove_abandoned(second, second.fence())
    assert sea("rollback", run, 20) == 1, "not suspended"
    note = {"checkpoint": None, "stageIndex": 0, "attempt": 2}
    store.put(f"{run}/ledger/drained.json", json.dumps(note).encode())
    capsys.readouterr()
    assert sea("rollback", run, 20) == 0
    assert "goes on from step 20" in capsys.readouterr().out
    head, _ = Commits(store, run, "rl", 0).read()
    assert [one.step for one in head.checkpoints] == [20]
    assert sorted(one.step for one in head.kept) == [10, 30]


def test_a_damaged_one_is_deleted_and_not_gone_back_to(
    store: ObjectStore, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    commits = Commits(store, run, "rl", 1)
    commits.set_aside(commits.read()[0].checkpoints[2])
    suspend(store, run, 20)
    assert sea("rollback", run, 30) == 1
    assert "is set aside as damaged" in capsys.readouterr().err
    assert main(["checkpoint", "verify", run, "--stage", "rl", "--step", "30"]) == 0
    assert "rl step 30 of attempt 1, set aside: sound" in capsys.readouterr().out
    assert sea("delete", run, 30) == 0
    assert not store.list(f"{run}/stages/rl/checkpoints/step-000030")
    assert not commits.read()[0].damaged


def test_a_stage_that_has_ended_does_not_go_back(
    store: ObjectStore, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suspend(store, run)
    store.put(f"{run}/stages/rl/export/READY.json", b"{}")
    assert sea("rollback", run, 10) == 1
    assert "has ended" in capsys.readouterr().err
    assert steps(store, run) == [10, 20, 30]


def test_pinned_and_newest_ones_are_not_deleted(
    store: ObjectStore, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sea("pin", run, 10) == 0
    assert sea("delete", run, 10) == 1
    assert "is pinned" in capsys.readouterr().err
    assert sea("delete", run, 30) == 1
    assert "is the newest" in capsys.readouterr().err
    assert sea("delete", run, 20) == 0
    assert steps(store, run) == [10, 30]
    assert not store.list(f"{run}/stages/rl/checkpoints/step-000020")
    commit(store, Commits(store, run, "rl", 1), 40, keep=1)
    assert steps(store, run) == [10, 40], "retention leaves the pinned one"
    assert sea("unpin", run, 10) == 0
    commit(store, Commits(store, run, "rl", 1), 50, keep=1)
    assert steps(store, run) == [50]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["inspect", "RUN", "--stage", "rl", "--step", "15"], "It has steps 10, 20, 30."),
        (["list", "RUN", "--stage", "sft"], "Stages with checkpoints: rl."),
        (["verify", "RUN", "--stage", "rl", "--step", "15"], "no checkpoint of step 15"),
        (["list", "s3://runs/nothing"], "Stages with checkpoints: none."),
    ],
)
def test_what_is_not_there_is_a_sentence(
    run: str, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(["checkpoint", *(run if one == "RUN" else one for one in arguments)]) == 1
    assert words in capsys.readouterr().err
