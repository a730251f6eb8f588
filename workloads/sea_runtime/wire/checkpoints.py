"""`head.json`, the only commit point of a stage's checkpoints, as everyone reads and writes it.

The trainer commits (`trainer/checkpoint/`), the coordinator looks which checkpoint is the newest
and goes back to an older one (`coordinator/rollback.py`), as `sea checkpoint` does by hand.
"""

from sea_runtime.wire.base import Message

FORMAT = 2
"""Of manifests, and of the objects that they name. 1 was Megatron's `torch_dist`."""


class StoredObject(Message):
    key: str
    """Key in the bucket of the run."""
    name: str
    """Within the checkpoint; empty for the ledger."""
    size: int
    sha256: str
    """Empty for a state object: its index has a checksum per piece (`index.py`)."""


class Entry(Message):
    """One committed checkpoint."""

    step: int
    version: int
    manifest_key: str
    bytes: int
    time: float
    """Unix seconds."""
    pinned: bool = False
    """A person keeps it: retention leaves it, and a run that goes back behind it too."""


class RollbackRecord(Message):
    """The newest request of `spec.checkpoint.rollbackTo` that was carried out."""

    generation: int
    """Identifies the request."""
    step: int
    from_step: int
    """Of the newest checkpoint before."""
    time: float
    """Unix seconds."""


class Head(Message):
    """The content of `head.json`."""

    attempt: int = 0
    """The attempt that owns the stage."""
    checkpoints: list[Entry] = []
    """Newest last."""
    damaged: list[Entry] = []
    """Found damaged when they were to be loaded; their objects are kept for a person to look at."""
    kept: list[Entry] = []
    """Pinned checkpoints that the run has gone back behind, and those whose head was lost: nothing
    goes on from them, and only a person deletes them."""
    rollback: RollbackRecord | None = None
    """Written together with what it did, so that a request is carried out once, whatever is lost
    afterwards."""

    @property
    def newest(self) -> Entry | None:
        return self.checkpoints[-1] if self.checkpoints else None


def entry_of(head: Head, step: int) -> Entry:
    """Raises KeyError if there is no checkpoint of that step."""
    found = [one for one in head.checkpoints if one.step == step]
    if not found:
        raise KeyError(step)
    return found[-1]


def gone_back(head: Head, step: int) -> tuple[Head, list[Entry]]:
    """The head whose newest checkpoint is that of `step`, and the entries that it no longer names.

    Raises:
        KeyError: there is no checkpoint of that step.
    """
    entry_of(head, step)
    later = [one for one in head.checkpoints if one.step > step]
    named = [one for one in head.checkpoints if one.step <= step]
    # With the head, in one write: the next attempt deletes what the head doesn't list.
    kept = [*head.kept, *(one for one in later if one.pinned)]
    return head.model_copy(update={"checkpoints": named, "kept": kept}), later
