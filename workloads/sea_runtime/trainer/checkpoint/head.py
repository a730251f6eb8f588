"""`head.json`, the only commit point of a stage's checkpoints, the pure decisions on it, and
`manifest.json`, which names every object of one checkpoint with size and SHA-256.

Readers start from it. An attempt first fences (writes its number), then commits; a writer whose
attempt is smaller than the head's must stop.
"""

from sea_runtime.trainer.errors import FencedError
from sea_runtime.wire.base import Message

MANIFEST = "manifest.json"
"""Name of the manifest within a checkpoint's folder."""


class StoredObject(Message):
    key: str
    """Key in the bucket of the run."""
    name: str
    """File name within the checkpoint; empty for objects that Megatron doesn't load."""
    size: int
    sha256: str


class Manifest(Message):
    stage: str
    step: int
    attempt: int
    stream: str
    version: int
    """Weight version of the saved parameters."""
    world_size: int
    """Number of ranks that saved it."""
    finished: bool
    """The stage ended with this step (validation stop or last step)."""
    objects: list[StoredObject]
    ledger: StoredObject | None
    time: float

    @property
    def bytes(self) -> int:
        return sum(one.size for one in [*self.objects, *([self.ledger] if self.ledger else [])])


class Entry(Message):
    """One committed checkpoint."""

    step: int
    version: int
    manifest_key: str
    bytes: int
    time: float
    """Unix seconds."""


class Head(Message):
    """The content of `head.json`."""

    attempt: int = 0
    """The attempt that owns the stage."""
    checkpoints: list[Entry] = []
    """Newest last."""

    @property
    def newest(self) -> Entry | None:
        return self.checkpoints[-1] if self.checkpoints else None


def fence(head: Head, attempt: int) -> Head:
    """The head after `attempt` has taken over.

    Raises:
        FencedError: a newer attempt has taken over.
    """
    if head.attempt > attempt:
        raise FencedError(
            f"Attempt {head.attempt} owns the checkpoints: attempt {attempt} must stop."
        )
    return head.model_copy(update={"attempt": attempt})


def kept(entries: list[Entry], keep_last: int, keep_every: int | None) -> list[Entry]:
    """The newest `keep_last`, and all whose step is a multiple of `keep_every`."""
    newest = entries[-keep_last:]
    return [
        entry
        for entry in entries
        if entry in newest or (keep_every is not None and entry.step % keep_every == 0)
    ]


def append(
    head: Head, entry: Entry, attempt: int, keep_last: int, keep_every: int | None
) -> tuple[Head, list[Entry]]:
    """The head that commits `entry`, and the entries that it no longer names.

    Raises:
        FencedError: a newer attempt has taken over.
    """
    owned = fence(head, attempt)
    # Later steps belong to an attempt that this one did not resume from.
    older = [one for one in owned.checkpoints if one.step < entry.step]
    named = kept([*older, entry], keep_last, keep_every)
    dropped = [one for one in owned.checkpoints if one not in named]
    return Head(attempt=attempt, checkpoints=named), dropped
