"""Whether a run's job is suspended, as its folder in the object store says it.

Once a job is drained, its coordinator writes `ledger/drained.json` (`coordinator/drain.py`).
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from sea_cli.checkpoint_lookup import CheckpointCommandError
from sea_data import urls
from sea_data.object_store import ObjectNotFoundError, PreconditionFailedError
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.checkpoints import Entry, Head

_NOTE = ("ledger", "drained.json")
"""Below the run's address."""
_WENT_BACK = "wentBackTo"
"""Field of the note: keys of the manifests of which `sea checkpoint rollback` has left one as the
newest: that of before it, and the one that it goes back to."""


class Suspension(NamedTuple):
    """The note that the coordinator has written once the job was drained."""

    url: str
    etag: str
    note: dict[str, Any]


def require(store: ObjectStore, run_url: str, stage: str, head: Head) -> Suspension:
    """A trainer that runs would commit its next step after the ones that are dropped.

    Raises:
        CheckpointCommandError: the job isn't suspended, or the stage has ended.
    """
    url = urls.join(run_url, *_NOTE)
    try:
        body, etag = store.get_with_etag(url)
    except ObjectNotFoundError as error:
        raise _not_suspended(url, stage) from error
    found = Suspension(url, etag, json.loads(body))
    if not _is_suspended(found.note, stage, head):
        raise _not_suspended(url, stage)
    if store.exists(urls.join(run_url, "stages", stage, "export", "READY.json")):
        raise CheckpointCommandError(
            f"Stage {stage} has ended and its model is exported; it doesn't run "
            "again. Create a job that goes on from the older checkpoint (startFrom)."
        )
    return found


def _is_suspended(note: Mapping[str, Any], stage: str, head: Head) -> bool:
    """Whether nothing has begun or been committed since the note was written. Pure."""
    # An attempt that began after the drain has taken the head over. A note of an older release
    # doesn't have the attempt.
    if head.attempt > note.get("attempt", head.attempt):
        return False
    newest, drained = head.newest, note.get("checkpoint") or [""]
    if newest is None:
        # The stage has lost its head: the job was drained at a stage before it, or at none.
        return drained[0] != stage
    return drained == [stage, newest.step] or newest.manifest_key in note.get(_WENT_BACK, [])


def keep(store: ObjectStore, found: Suspension, before: Head, entry: Entry) -> None:
    """Notes to which checkpoint the suspended job goes back, so that it may go back once more.

    The ledger next to the note stays that of the drain: the coordinator compares its checkpoint.
    """
    # Both: this command may be killed before it has changed the head.
    newest = [] if before.newest is None else [before.newest.manifest_key]
    note = {**found.note, _WENT_BACK: [*newest, entry.manifest_key]}
    try:
        store.put_if(found.url, json.dumps(note).encode(), found.etag)
    except PreconditionFailedError as error:
        raise CheckpointCommandError(
            f"{found.url} was written at this moment: the job runs, or another command goes back. "
            "Wait for the condition Suspended and try again."
        ) from error


def _not_suspended(url: str, stage: str) -> CheckpointCommandError:
    return CheckpointCommandError(
        f"The job doesn't look suspended in stage {stage}: {url} is "
        "missing, or older than the newest checkpoint or attempt. Set spec.suspend to true, "
        "wait for the condition Suspended, then go back."
    )
