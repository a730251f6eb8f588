"""Which checkpoint of another run the ranks load (`spec.startFrom`): the coordinator's choice."""

from pathlib import Path

import pytest

from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint import head as heads
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.errors import CheckpointError
from sea_runtime.wire.trainer import Origin
from sea_testing.checkpoints import commit, started_from

pytestmark = pytest.mark.component


def test_the_other_run_that_came_to_the_step_again_changes_nothing(
    store: ObjectStore, tmp_path: Path
) -> None:
    """The ledger is that of the checkpoint that was looked at: the state is of the same."""
    run = f"s3://runs/{tmp_path.name}"
    first, second = Commits(store, run, "stage", 1), Commits(store, run, "stage", 2)
    commit(store, first, 3)
    # Pinned: its objects stay when the run comes to the step again.
    head = first.change(lambda head: heads.pinned(head, head.checkpoints[0], True))
    commit(store, second, 3)
    newest = second.read()[0].newest
    assert newest is not None
    assert newest.attempt == 2
    theirs = Commits(store, run, "stage", 7)
    chosen = Origin(run_url=run, step=3, entry=head.newest)
    assert started_from(theirs, chosen).attempt == 1
    # As a coordinator of an older release asks.
    assert started_from(theirs, Origin(run_url=run, step=3)).attempt == 2
    with pytest.raises(CheckpointError, match="no checkpoint of step 4 any more"):
        started_from(theirs, Origin(run_url=run, step=4))


def test_a_checkpoint_that_is_gone_is_not_replaced_by_another_of_its_step(
    store: ObjectStore, tmp_path: Path
) -> None:
    run = f"s3://runs/{tmp_path.name}"
    first, second = Commits(store, run, "stage", 1), Commits(store, run, "stage", 2)
    commit(store, first, 3)
    entry = first.read()[0].newest
    commit(store, second, 3)
    with pytest.raises(CheckpointError, match=r"step-000003-a1/manifest\.json is no"):
        started_from(Commits(store, run, "stage", 7), Origin(run_url=run, step=3, entry=entry))
