"""The pure decisions on `head.json` (`wire/checkpoints.py`), the only commit point of a stage's
checkpoints, and `manifest.json`, which names every object of one with size and SHA-256.

Readers start from it. An attempt first fences (writes its number), then commits; a writer whose
attempt is smaller than the head's must stop.
"""

import json
from collections.abc import Callable
from dataclasses import asdict

from sea_runtime.parallel.parallel_layout import ParallelLayout
from sea_runtime.trainer.errors import CheckpointError, FencedError
from sea_runtime.wire.base import Message
from sea_runtime.wire.checkpoints import FORMAT, Entry, Head, StoredObject

MANIFEST = "manifest.json"
"""Name of the manifest within a checkpoint's folder."""


def state_name(rank: int) -> str:
    return f"rank-{rank:05d}.state"


def index_name(rank: int) -> str:
    return f"rank-{rank:05d}.json"


class SavedLayout(Message):
    """Fields of a `ParallelLayout`."""

    world_size: int
    tensor: int
    pipeline: int
    context: int
    expert: int
    expert_tensor: int
    stage_layers: list[int]

    @classmethod
    def of(cls, layout: ParallelLayout) -> "SavedLayout":
        return cls.model_validate(asdict(layout) | {"stage_layers": list(layout.stage_layers)})

    def parallel_layout(self) -> ParallelLayout:
        fields = self.model_dump()
        return ParallelLayout(**fields | {"stage_layers": tuple(self.stage_layers)})


class Manifest(Message):
    format: int = 1
    stage: str
    step: int
    attempt: int
    stream: str
    version: int
    """Weight version of the saved parameters."""
    world_size: int
    """Number of ranks that saved it."""
    layout: SavedLayout | None = None
    initial_model: str = ""
    """`s3://` folder of the model that the stage began with: configuration and tokenizer."""
    precision: str = ""
    """`model.precision`: what exported weights are."""
    strips_thoughts: bool = False
    """How an exported chat template shows thoughts."""
    finished: bool
    """The stage ended with this step (validation stop or last step)."""
    objects: list[StoredObject]
    ledger: StoredObject | None
    time: float

    @property
    def bytes(self) -> int:
        return sum(one.size for one in self.everything)

    @property
    def everything(self) -> list[StoredObject]:
        return [*self.objects, *([self.ledger] if self.ledger else [])]

    def parallel_layout(self) -> ParallelLayout:
        """The layout of the ranks that saved it.

        Raises:
            CheckpointError: the manifest doesn't have it.
        """
        if self.layout is None:
            raise CheckpointError("The checkpoint's manifest has no layout of the ranks.")
        return self.layout.parallel_layout()


def parse_manifest(body: bytes | str, url: str) -> Manifest:
    """The manifest at `url`.

    Raises:
        ValueError: it is no manifest.
        CheckpointError: it is of another release. It may be sound: nobody may set it aside.
    """
    found = json.loads(body)
    number = found.get("format", 1) if isinstance(found, dict) else 1
    if isinstance(number, int) and number != FORMAT:
        raise CheckpointError(
            f"{url} has the format {number}, and this release of sea-operator reads {FORMAT}: use "
            "the release that wrote it, or go back to an older checkpoint with `sea checkpoint "
            "rollback`."
        )
    return Manifest.model_validate_json(body)


def fence(head: Head, attempt: int) -> Head:
    """The head after `attempt` has taken over.

    Raises:
        FencedError: a newer attempt has taken over.
    """
    if head.attempt > attempt:
        raise FencedError(
            f"Attempt {head.attempt} owns the checkpoints: attempt {attempt} must stop."
        )
    return head.model_copy(update={"attempt": attempt, "opened": attempt})


def kept(
    entries: list[Entry], keep_last: int, keep_every: int | None, exported: int | None = None
) -> list[Entry]:
    """The newest `keep_last`, pinned ones, and the first at or after each multiple of `keep_every`.

    Not just the multiples: a checkpoint that is due while another is uploaded is of a later step.
    The one of step `exported` is being read.
    """
    newest = entries[-keep_last:]
    firsts: dict[int, Entry] = {}
    if keep_every is not None:
        for entry in entries:
            firsts.setdefault(entry.step // keep_every, entry)
    # Steps before the first multiple are in group 0, which no multiple asks for.
    firsts.pop(0, None)
    named = [*newest, *firsts.values()]
    return [one for one in entries if one in named or one.pinned or one.step == exported]


def append(
    head: Head,
    entry: Entry,
    attempt: int,
    keep_last: int,
    keep_every: int | None,
    exported: int | None = None,
) -> tuple[Head, list[Entry]]:
    """The head that commits `entry`, and the entries that it no longer names.

    Raises:
        FencedError: a newer attempt has taken over.
    """
    owned = fence(head, attempt)
    # Later steps belong to an attempt that this one did not resume from.
    older = [one for one in owned.checkpoints if one.step < entry.step]
    named = kept([*older, entry], keep_last, keep_every, exported)
    left = [one for one in owned.checkpoints if one not in named]
    # Retention drops no pinned one: those here follow a step that training hasn't resumed from.
    pinned = [one for one in left if one.pinned]
    after = owned.model_copy(update={"checkpoints": named, "kept": [*owned.kept, *pinned]})
    return after, [one for one in left if not one.pinned]


def without_damaged(head: Head, entry: Entry, attempt: int) -> Head:
    """The head after `entry` was found damaged: the checkpoint before it is the newest.

    Raises:
        FencedError: a newer attempt has taken over.
    """
    owned = fence(head, attempt)
    named = [one for one in owned.checkpoints if one != entry]
    if named == owned.checkpoints:
        return owned
    return owned.model_copy(update={"checkpoints": named, "damaged": [*owned.damaged, entry]})


def pinned(head: Head, entry: Entry, pin: bool) -> Head:
    """The head with a checkpoint that it lists, also one that the run has left, pinned or not."""
    changed = entry.model_copy(update={"pinned": pin})
    return _each(head, lambda entries: [changed if one == entry else one for one in entries])


def without(head: Head, entry: Entry) -> Head:
    """The head that no longer lists a checkpoint."""
    return _each(head, lambda entries: [one for one in entries if one != entry])


def _each(head: Head, change: Callable[[list[Entry]], list[Entry]]) -> Head:
    lists = {name: getattr(head, name) for name in ("checkpoints", "kept", "damaged")}
    return head.model_copy(update={name: change(entries) for name, entries in lists.items()})
