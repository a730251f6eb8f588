"""A checkpoint stays committed whatever happens to those that it replaces."""

import pytest

from sea_data.object_store import StoreUnavailableError
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.wire.checkpoints import Entry

pytestmark = pytest.mark.component


def entry(commits: Commits, step: int) -> Entry:
    key = commits.key(commits.step_folder(step) + "/manifest.json")
    return Entry(step=step, version=step, manifest_key=key, bytes=1, time=float(step))


def test_an_old_checkpoint_that_cannot_be_deleted_does_not_undo_the_commit(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller reports the commit next: without that report a drain never ends."""
    commits = Commits(store, "s3://runs/commit", "stage", 1)
    commits.commit(entry(commits, 1), 1, None)

    def fails(_: str) -> None:
        raise StoreUnavailableError("DELETE: no answer.")

    store.put(commits.step_folder(1) + "/manifest.json", b"{}")
    monkeypatch.setattr(store, "delete", fails)
    head = commits.commit(entry(commits, 2), 1, None)
    assert [one.step for one in head.checkpoints] == [2]
    assert commits.read()[0] == head
    assert "are kept in the store" in caplog.text
