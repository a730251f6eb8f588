"""What `sea checkpoint` looks up: a run's stages with checkpoints, one of them, its manifest."""

import argparse

from sea_api.errors import SeaError
from sea_data import urls
from sea_data.object_store import ObjectNotFoundError
from sea_runtime.coordinator import run_record
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint import head as heads
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import Manifest
from sea_runtime.wire.checkpoints import Entry, Head, all_of, missing_text

_HEAD = "/checkpoints/head.json"
_NO_ATTEMPT = 0
"""`Commits` of this command commits nothing."""


class CheckpointCommandError(SeaError):
    """Why a checkpoint can't be shown or changed; the message is a sentence."""


def stages(run_url: str, only: str | None) -> list[tuple[str, Commits]]:
    """The run's stages that have checkpoints; none if the run has committed nothing yet.

    Raises:
        CheckpointCommandError: there is no such run, or it has no such stage.
    """
    store = ObjectStore(retry_timeout=20.0)
    root = urls.folder(urls.join(run_url, "stages"))
    names = sorted(
        item.url.removeprefix(root).removesuffix(_HEAD)
        for item in store.list(root)
        if item.url.endswith(_HEAD)
    )
    asked = [name for name in names if only in (None, name)]
    if not asked and not _is_to_come(store, run_url, only):
        where = f"stage {only} of {run_url}" if only else run_url
        raise CheckpointCommandError(
            f"There is no checkpoint of {where}. Stages with checkpoints: "
            f"{', '.join(names) or 'none'}. The address of a run is its job's `status.runUrl`."
        )
    return [(name, Commits(store, run_url, name, _NO_ATTEMPT)) for name in asked]


def _is_to_come(store: ObjectStore, run_url: str, stage: str | None) -> bool:
    """Whether the run is there, and has the stage: it may have no checkpoint yet."""
    try:
        record = run_record.parse(store.get(urls.join(run_url, run_record.FILE)))
    except (ObjectNotFoundError, ValueError):
        return False
    spec = record.specs[-1].spec if record.specs else {}
    return stage is None or stage in [one["name"] for one in spec.get("stages", [])]


def chosen(given: argparse.Namespace) -> tuple[Commits, Entry]:
    """The checkpoint that the arguments name; raises CheckpointCommandError."""
    for _, commits in stages(given.url, given.stage):
        return commits, named(commits.read()[0], given)
    raise CheckpointCommandError(f"{missing_text(Head(), given.stage, given.step)}.")


def named(head: Head, given: argparse.Namespace) -> Entry:
    """The checkpoint asked for, also one that the run has left or set aside.

    Raises:
        CheckpointCommandError: there is none, or there are several of the step.
    """
    found = all_of(head, given.step, given.attempt)
    if len(found) == 1:
        return found[0]
    if found:
        attempts = ", ".join(str(one.attempt) for one in found)
        raise CheckpointCommandError(
            f"Stage {given.stage} has checkpoints of step {given.step} of the attempts {attempts}: "
            "name one with --attempt. `sea checkpoint list` shows which of them the run has left."
        )
    if given.attempt is not None and all_of(head, given.step):
        attempts = ", ".join(str(one.attempt) for one in all_of(head, given.step))
        raise CheckpointCommandError(
            f"Attempt {given.attempt} has no checkpoint of step {given.step} of stage "
            f"{given.stage}; those of the step are of the attempts {attempts}."
        )
    raise CheckpointCommandError(f"{missing_text(head, given.stage, given.step)}.")


def manifest_of(commits: Commits, entry: Entry) -> Manifest:
    """The entry's manifest; raises CheckpointCommandError, CheckpointError, StoreError."""
    url = commits.url(entry.manifest_key)
    try:
        return heads.parse_manifest(commits.store.get(url), url)
    except ValueError as error:
        raise CheckpointCommandError(f"{url} is no manifest: {error}") from error
