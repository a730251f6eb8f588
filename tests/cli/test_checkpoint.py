"""`sea checkpoint` on a real object store: shown, verified, pinned, gone back to, deleted."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sea_cli.app import main
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint.commit import Commits
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


def suspend(store: ObjectStore, run: str, step: int = 30) -> None:
    note = {"checkpoint": ["rl", step], "stageIndex": 0}
    store.put(f"{run}/ledger/drained.json", json.dumps(note).encode())


def steps(store: ObjectStore, run: str) -> list[int]:
    return [one.step for one in Commits(store, run, "rl", 0).read()[0].checkpoints]


def sea(command: str, run: str, step: int | None = None) -> int:
    where = ["--stage", "rl", "--step", str(step)] if step else []
    return main(["checkpoint", command, run, *where])


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
        (["list", "s3://runs/nothing"], "Stages with checkpoints: none."),
    ],
)
def test_what_is_not_there_is_a_sentence(
    run: str, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(["checkpoint", *(run if one == "RUN" else one for one in arguments)]) == 1
    assert words in capsys.readouterr().err
