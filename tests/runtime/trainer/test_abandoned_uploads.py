"""A store that doesn't list unfinished uploads."""

from collections.abc import Callable
from typing import Any

from sea_data.object_store import AccessDeniedError
from sea_runtime.store.s3 import ObjectInfo
from sea_runtime.trainer.checkpoint.commit import Commits, remove_abandoned
from sea_runtime.wire.checkpoints import Head

FOLDER = "s3://runs/a/stages/rl/checkpoints"


class Store:
    """Its keys lack s3:ListBucketMultipartUploads."""

    def __init__(self) -> None:
        self.deleted: list[str] = []

    def abort_uploads(self, _url: str, _is_abandoned: Callable[[str], bool]) -> list[str]:
        raise AccessDeniedError("no")

    def list(self, _url: str) -> list[ObjectInfo]:
        return [ObjectInfo(f"{FOLDER}/step-000002-a1/rank-00000.state", 1, "")]

    def delete(self, url: str) -> None:
        self.deleted.append(url)


def test_objects_that_were_never_committed_are_deleted_all_the_same() -> None:
    store: Any = Store()
    remove_abandoned(Commits(store, "s3://runs/a", "rl", 2), Head(attempt=2, kept_known=True))
    assert store.deleted == [f"{FOLDER}/step-000002-a1/rank-00000.state"]
