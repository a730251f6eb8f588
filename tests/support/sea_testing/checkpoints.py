"""Committed checkpoints of one small object each, and what an attempt of one rank restores."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint import restore
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import Manifest, index_name, state_name
from sea_runtime.trainer.checkpoint.index import RankIndex, checksums
from sea_runtime.trainer.checkpoint.reader import damage
from sea_runtime.wire.checkpoints import FORMAT, Entry, StoredObject
from sea_runtime.wire.trainer import Origin

STATE = b"x"
_NOTHING: Any = None


def commit(
    store: ObjectStore, commits: Commits, step: int, borrowed: str = "", keep: int = 2
) -> None:
    """A whole checkpoint; one of its objects may be in another folder."""
    url = commits.step_folder(step)
    index = RankIndex(
        rank=0,
        runs=[],
        sections=[],
        nbytes=len(STATE),
        pieces=list(checksums(memoryview(STATE))),
        optimizer_step=step,
        rng="",
    )

    def stored(key: str, name: str, body: bytes, digest: bool = True) -> StoredObject:
        store.put(commits.url(key), body)
        sha256 = hashlib.sha256(body).hexdigest() if digest else ""
        return StoredObject(key=key, name=name, size=len(body), sha256=sha256)

    folder = commits.key(url)
    objects = [
        stored(f"{folder}/{state_name(0)}", state_name(0), STATE, digest=False),
        stored(f"{folder}/{index_name(0)}", index_name(0), index.model_dump_json().encode()),
        *([stored(borrowed, "borrowed", STATE)] if borrowed else []),
    ]
    ledger = stored(f"{folder}/ledger.sqlite", "", STATE)
    manifest = Manifest(
        format=FORMAT,
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


def restored(commits: Commits) -> Manifest | None:
    """The manifest that an attempt would load; all bytes are checked, Megatron is left out."""
    with _one_rank() as context:
        return restore.restore(context, commits, _NOTHING, _NOTHING)


def started_from(theirs: Commits, origin: Origin) -> Manifest:
    """As `restored`, of another run's checkpoint."""
    with _one_rank() as context:
        return restore.start_from(context, theirs, origin, _NOTHING, _NOTHING)


@contextmanager
def _one_rank() -> Iterator[Any]:
    """Its context."""
    control = SimpleNamespace(
        broadcast=lambda value: value, all_gather=lambda value: [value], min=lambda value: value
    )
    context: Any = SimpleNamespace(
        leads=True,
        control=control,
        status=SimpleNamespace(alive=lambda: None),
    )

    def load(_: Any, of: Commits, manifest: Manifest, *__: Any) -> str:
        found = (damage(of, manifest, one) for one in manifest.everything)
        return next((one for one in found if one), "")

    with mock.patch.object(restore, "_load", load):
        yield context
