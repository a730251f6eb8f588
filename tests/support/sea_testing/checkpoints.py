"""Committed checkpoints of one small object each, and what an attempt of one rank restores."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint import restore
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import Entry, Manifest, StoredObject

SHA256 = hashlib.sha256(b"x").hexdigest()


def commit(
    store: ObjectStore, commits: Commits, step: int, borrowed: str = "", keep: int = 2
) -> None:
    """A whole checkpoint; one of its objects may be in another folder."""
    url = commits.step_folder(step)
    keys = [commits.key(f"{url}/__0_0"), *([borrowed] if borrowed else [])]
    objects = [StoredObject(key=key, name="__0_0", size=1, sha256=SHA256) for key in keys]
    ledger = StoredObject(key=commits.key(f"{url}/ledger.sqlite"), name="", size=1, sha256=SHA256)
    for one in (*objects, ledger):
        store.put(commits.url(one.key), b"x")
    manifest = Manifest(
        stage="stage",
        step=step,
        attempt=commits.attempt,
        stream="policy",
        version=step,
        world_size=1,
        finished=False,
        objects=objects,
        ledger=ledger,
        time=float(step),
    )
    target = f"{url}/manifest.json"
    store.put(target, manifest.model_dump_json().encode())
    key = commits.key(target)
    commits.commit(Entry(step=step, version=step, manifest_key=key, bytes=1, time=1.0), keep, None)


def restored(commits: Commits, folder: Path) -> Manifest | None:
    """The manifest that an attempt would load; Megatron's part is left out."""
    control = SimpleNamespace(
        broadcast=lambda value: value, all_gather=lambda value: [value], min=lambda value: value
    )
    context: Any = SimpleNamespace(
        leads=True,
        control=control,
        pod=SimpleNamespace(data_dir=folder),
        assignment=SimpleNamespace(local_rank=0),
        status=SimpleNamespace(alive=lambda: None),
    )
    nothing: Any = None
    with mock.patch.object(restore, "_load"):
        return restore.restore(context, commits, nothing, nothing)
