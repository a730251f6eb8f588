"""Whether a job looks suspended to `sea checkpoint rollback`, also after one that was killed."""

import json
from typing import Any

import pytest

from sea_cli import suspension
from sea_cli.checkpoint_lookup import CheckpointCommandError
from sea_runtime.wire.checkpoints import Entry, Head
from sea_testing.coordinator.memory_store import MemoryStore

RUN = "s3://runs/a"
NOTE: dict[str, Any] = {"checkpoint": ["rl", 30], "stageIndex": 0, "attempt": 1}


def entry(step: int) -> Entry:
    key = f"stages/rl/checkpoints/step-{step:06}-a1/manifest.json"
    return Entry(step=step, version=step, manifest_key=key, bytes=1, time=1.0)


def head(*steps: int) -> Head:
    return Head(attempt=1, checkpoints=[entry(step) for step in steps])


def drained() -> Any:
    store = MemoryStore()
    store.put(f"{RUN}/ledger/drained.json", json.dumps(NOTE).encode())
    return store


def note_rollback(store: Any, before: Head, step: int) -> None:
    found = suspension.require(store, RUN, "rl", before)
    suspension.keep(store, found, before, entry(step))


def test_a_rollback_that_was_killed_before_it_changed_the_head_is_repeated() -> None:
    store = drained()
    note_rollback(store, head(10, 20, 30), 20)
    note_rollback(store, head(10, 20, 30), 20)
    # The head is at 20 now, and the next one is killed too.
    note_rollback(store, head(10, 20), 10)
    note_rollback(store, head(10, 20), 10)
    found = suspension.require(store, RUN, "rl", head(10))
    assert found.note.items() >= NOTE.items(), "what the drain noted is kept"


def test_a_checkpoint_that_no_rollback_named_is_of_a_job_that_ran() -> None:
    store = drained()
    note_rollback(store, head(10, 20, 30), 20)
    with pytest.raises(CheckpointCommandError, match=r"Set spec\.suspend to true"):
        suspension.require(store, RUN, "rl", head(10, 20, 25))


def test_two_rollbacks_at_once_are_refused() -> None:
    store, before = drained(), head(10, 20, 30)
    found = suspension.require(store, RUN, "rl", before)
    suspension.keep(store, found, before, entry(20))
    with pytest.raises(CheckpointCommandError, match="was written at this moment"):
        suspension.keep(store, found, before, entry(10))
