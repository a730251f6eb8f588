"""`head.json`, the only commit point of a stage's checkpoints, as everyone reads and writes it.

The trainer commits (`trainer/checkpoint/`), the coordinator looks which checkpoint is the newest
and goes back to an older one (`coordinator/rollback.py`), as `sea checkpoint` does by hand.
"""

import re
from collections.abc import Iterable

from sea_runtime.wire.base import Message

_FOLDER = re.compile(r"(?:^|/)step-\d+-a(\d+)/[^/]*$")
SHOWN = 8
"""Steps named in a sentence."""
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
    parted: int | None = None
    """Of one that the run had left and went back to: the weight version of the checkpoint before.
    Later ones may be of the line that the run was on meanwhile."""

    @property
    def attempt(self) -> int:
        """That saved it, by the name of its folder; 0 if that doesn't say."""
        found = _FOLDER.search(self.manifest_key)
        return int(found[1]) if found else 0


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
    opened: int = 0
    """The newest attempt whose processes have opened the stage. Going back gives the stage to one
    whose processes only begin then."""
    checkpoints: list[Entry] = []
    """Newest last."""
    damaged: list[Entry] = []
    """Found damaged when they were to be loaded; their objects are kept for a person to look at."""
    kept: list[Entry] = []
    """Pinned checkpoints that the run has gone back behind, and those whose head was lost: only a
    person goes on from them, or deletes them."""
    kept_known: bool = False
    """Whole checkpoints that the head doesn't name were looked for, and are in `kept`. Not in a
    head of an older release, which didn't list what it left pinned, nor where the head was lost."""
    rollback: RollbackRecord | None = None
    """Written together with what it did, so that a request is carried out once, whatever is lost
    afterwards."""

    @property
    def newest(self) -> Entry | None:
        return self.checkpoints[-1] if self.checkpoints else None


def entry_of(head: Head, step: int, attempt: int | None = None) -> Entry:
    """The checkpoint of a step: the run's own, or else the only one of that step that it has left.

    Args:
        attempt: that saved it, for one of several.

    Raises:
        KeyError: there is none, or the run has left several (`missing_text` says which).
    """
    own = _of(head.checkpoints, step, attempt)
    left = _of(head.kept, step, attempt)
    if not own and len(left) != 1:
        raise KeyError(step)
    return (own or left)[-1]


def all_of(head: Head, step: int, attempt: int | None = None) -> list[Entry]:
    """All checkpoints of a step that the head lists: the run's own, left and damaged ones."""
    return _of([*head.checkpoints, *head.kept, *head.damaged], step, attempt)


def _of(entries: Iterable[Entry], step: int, attempt: int | None) -> list[Entry]:
    return [one for one in entries if one.step == step and attempt in (None, one.attempt)]


def missing_text(head: Head, stage: str, step: int) -> str:
    """Why `entry_of` finds no checkpoint of a step; a sentence without a full stop."""
    several = _of(head.kept, step, None)
    if len(several) > 1:
        attempts = ", ".join(str(one.attempt) for one in several)
        return (
            f"Stage {stage} has left several checkpoints of step {step}, of the attempts "
            f"{attempts} (`sea checkpoint rollback --attempt` chooses one)"
        )
    steps = ", ".join(str(one.step) for one in head.checkpoints[-SHOWN:])
    left = ", ".join(str(one.step) for one in head.kept[-SHOWN:])
    return f"Stage {stage} has no checkpoint of step {step}. It has steps {steps or 'none'}" + (
        f", and has left steps {left}" if left else ""
    )


def gone_back(head: Head, step: int, attempt: int | None = None) -> tuple[Head, list[Entry]]:
    """The head whose newest checkpoint is that of `step`, and the entries that it no longer names.

    Also one that the run has left: those that it goes on from are then of its line, which are those
    before it by its own attempt or earlier ones. What later attempts have committed followed
    another checkpoint.

    Raises:
        KeyError: as `entry_of`.
    """
    entry = entry_of(head, step, attempt)
    if entry in head.checkpoints:
        named = [one for one in head.checkpoints if one.step <= step]
    else:
        own = [one for one in head.checkpoints if one.step < step]
        before = [one for one in own if one.attempt <= entry.attempt]
        parted = before[-1].version if before else 0
        named = [*before, entry.model_copy(update={"parted": parted})]
    later = [one for one in head.checkpoints if one not in named]
    # With the head, in one write: the next attempt deletes what the head doesn't list.
    kept = [*(one for one in head.kept if one != entry), *(one for one in later if one.pinned)]
    return head.model_copy(update={"checkpoints": named, "kept": kept}), later
