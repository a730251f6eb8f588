"""What `sea checkpoint` looks up: a run's stages with checkpoints, one of them, its manifest."""

import argparse
from collections.abc import Iterator

from sea_api.errors import SeaError
from sea_data import urls
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint import head as heads
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import Manifest
from sea_runtime.wire.checkpoints import Entry, Head, entry_of

_HEAD = "/checkpoints/head.json"
_NO_ATTEMPT = 0
"""`Commits` of this command commits nothing."""


class CheckpointCommandError(SeaError):
    """Why a checkpoint can't be shown or changed; the message is a sentence."""


def stages(run_url: str, only: str | None) -> Iterator[tuple[str, Commits]]:
    """The run's stages that have checkpoints."""
    store = ObjectStore(retry_timeout=20.0)
    root = urls.folder(urls.join(run_url, "stages"))
    names = sorted(
        item.url.removeprefix(root).removesuffix(_HEAD)
        for item in store.list(root)
        if item.url.endswith(_HEAD)
    )
    asked = [name for name in names if only in (None, name)]
    if not asked:
        where = f"stage {only} of {run_url}" if only else run_url
        raise CheckpointCommandError(
            f"There is no checkpoint of {where}. Stages with checkpoints: "
            f"{', '.join(names) or 'none'}."
        )
    for name in asked:
        yield name, Commits(store, run_url, name, _NO_ATTEMPT)


def chosen(given: argparse.Namespace) -> tuple[Commits, Entry]:
    """The checkpoint that the arguments name; raises CheckpointCommandError."""
    ((_, commits),) = stages(given.url, given.stage)
    head, _ = commits.read()
    return commits, entry_of(head, step_of(head, given))


def step_of(head: Head, given: argparse.Namespace) -> int:
    """The step asked for; raises CheckpointCommandError if the head doesn't name it."""
    step: int = given.step
    steps = [one.step for one in head.checkpoints]
    if step not in steps:
        raise CheckpointCommandError(
            f"Stage {given.stage} has no checkpoint of step {step}. It has steps "
            f"{', '.join(map(str, steps)) or 'none'}."
        )
    return step


def manifest_of(commits: Commits, entry: Entry) -> Manifest:
    """The entry's manifest; raises CheckpointCommandError, CheckpointError, StoreError."""
    url = commits.url(entry.manifest_key)
    try:
        return heads.parse_manifest(commits.store.get(url), url)
    except ValueError as error:
        raise CheckpointCommandError(f"{url} is no manifest: {error}") from error
