"""Loads the newest committed checkpoint of a stage into a model and its optimizer.

Rank 0 takes the stage over (fence), reads the head, and checks that all objects that the manifest
names exist in their size; every rank reads the ranges that it needs, whatever layout saved them,
and checks their bytes. A damaged checkpoint is set aside, and the one before is loaded.
"""

import base64
import logging
from collections.abc import Callable
from typing import TypeVar

from sea_data import urls
from sea_data.object_store import ObjectNotFoundError
from sea_runtime.trainer import background
from sea_runtime.trainer.checkpoint import commit
from sea_runtime.trainer.checkpoint import state as states
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import Manifest, parse_manifest
from sea_runtime.trainer.checkpoint.index import KINDS
from sea_runtime.trainer.checkpoint.reader import CheckpointReader, missing
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.errors import CheckpointError
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer import Optimizer
from sea_runtime.wire.checkpoints import Entry, Head, entry_of
from sea_runtime.wire.trainer import Origin

log = logging.getLogger(__name__)
Result = TypeVar("Result")


def restore(
    context: RankContext, commits: Commits, model: Model, into: Optimizer
) -> Manifest | None:
    """Takes the stage over and loads its newest sound checkpoint. Collective.

    A damaged one is set aside in the head, and the one before is loaded; the coordinator's ledger
    follows, since it asks the head where training goes on.

    Returns:
        The manifest of what was loaded, None if the stage has no checkpoint.

    Raises:
        CheckpointError: all checkpoints of the stage are damaged, or the newest is of another
            release.
    """
    entry, damaged = _take_over(context, commits)
    while entry is not None:
        manifest, damage = _manifest(context, commits, entry)
        if manifest is not None:
            damage = _check_sizes(context, commits, manifest)
            if not damage:
                damage = _load(context, commits, manifest, model, into)
            if not damage:
                return manifest
        entry, damaged = _set_aside(context, commits, entry, damage)
    if damaged:
        # Never from scratch by itself: days of training would be overwritten.
        raise CheckpointError(
            f"No checkpoint of the stage can be loaded: {damaged} Restore the objects and move the "
            f"entries from 'damaged' back to 'checkpoints' in {commits.folder}/head.json, or "
            "delete head.json to begin the stage from its initial model."
        )
    return None


def start_from(
    context: RankContext, theirs: Commits, origin: Origin, model: Model, into: Optimizer
) -> Manifest:
    """Loads the checkpoint of another run, and writes nothing there. Collective.

    Args:
        theirs: checkpoints of the other run's stage.

    Raises:
        CheckpointError: it is gone, damaged, of another model or of another release.
    """

    def look() -> str:
        # The coordinator chose it, and the ledger is its: the other run may have come to the same
        # step again since.
        if origin.entry is not None:
            return origin.entry.model_dump_json()
        try:
            return entry_of(theirs.read()[0], origin.step).model_dump_json()
        except KeyError:
            return ""

    text = context.control.broadcast(_on_rank_0(context, look))
    if not text:
        raise CheckpointError(
            f"{theirs.folder} has no checkpoint of step {origin.step} any more, which startFrom "
            "names, and this run has none of its own yet. Create the job again with one that is "
            "there."
        )
    entry = Entry.model_validate_json(text)
    manifest, damage = _manifest(context, theirs, entry)
    if manifest is not None:
        damage = _check_sizes(context, theirs, manifest)
        damage = damage or _load(context, theirs, manifest, model, into)
    if manifest is None or damage:
        raise CheckpointError(f"The checkpoint that startFrom names can't be loaded: {damage}")
    return manifest


_Newest = tuple[Entry | None, str]
"""The newest checkpoint, and a sentence if others are set aside as damaged."""


def _take_over(context: RankContext, commits: Commits) -> _Newest:
    """The newest checkpoint, on every rank, once no older attempt can commit any more."""
    # Fence before reading `newest`: an older attempt that commits in between would be overlooked.
    head = _on_rank_0(context, commits.fence)
    if head is None:
        return _received(context.control.broadcast(None))
    background.start("abandoned checkpoints", lambda: commit.clean_up(commits, head))
    steps = ", ".join(str(one.step) for one in head.damaged)
    return _sent(context, head, f"steps {steps} are set aside as damaged." if steps else "")


def _set_aside(context: RankContext, commits: Commits, entry: Entry, damage: str) -> _Newest:
    """The checkpoint before a damaged one, on every rank."""
    head = _on_rank_0(context, lambda: commits.set_aside(entry))
    if head is None:
        return _received(context.control.broadcast(None))
    log.error("The checkpoint of step %d is damaged and set aside. %s", entry.step, damage)
    return _sent(context, head, damage)


def _sent(context: RankContext, head: Head, damaged: str) -> _Newest:
    text = None if head.newest is None else head.newest.model_dump_json()
    return _received(context.control.broadcast((text, damaged)))


def _received(found: tuple[str | None, str]) -> _Newest:
    text, damaged = found
    return (None if text is None else Entry.model_validate_json(text)), damaged


def _manifest(context: RankContext, commits: Commits, entry: Entry) -> tuple[Manifest | None, str]:
    """The manifest on every rank, or what is wrong with it."""

    def look() -> tuple[str, str]:
        url = commits.url(entry.manifest_key)
        try:
            text = commits.store.get(url).decode()
            damage = foreign(parse_manifest(text, url), entry, commits)
        except (ObjectNotFoundError, ValueError) as error:
            damage = f"{url} is no manifest: {error}"
        return ("", damage) if damage else (text, "")

    # Every rank loads the manifest that rank 0 saw; two reads could see two heads.
    text, damage = context.control.broadcast(_on_rank_0(context, look))
    return (Manifest.model_validate_json(text) if text else None), damage


def foreign(manifest: Manifest, entry: Entry, commits: Commits) -> str:
    """Why a manifest isn't that of the entry, empty if it is."""
    root = commits.key(urls.folder(commits.run_url))
    others = [one.key for one in manifest.everything if not one.key.startswith(root)]
    if manifest.step != entry.step or others:
        return (
            f"{commits.url(entry.manifest_key)} is the manifest of another checkpoint: step "
            f"{manifest.step}, objects {', '.join(others[:3]) or 'of this run'}."
        )
    return ""


def _check_sizes(context: RankContext, commits: Commits, manifest: Manifest) -> str:
    """What is missing or has another size, empty if nothing: also what no rank loads. Collective.

    The coordinator can't go on from a checkpoint without its ledger.
    """

    def work() -> str:
        return "".join(missing(commits, manifest.everything)[:1])

    damage: str = context.control.broadcast(_on_rank_0(context, work))
    return damage


def _on_rank_0(context: RankContext, work: Callable[[], Result]) -> Result | None:
    """The work's result on rank 0, None elsewhere. Collective.

    All ranks wait for it: in a thread, since an outage of the store may outlast a collective.
    """
    return background.rank_barrier(
        context, "The start from the newest checkpoint", work if context.leads else None
    )


def _load(
    context: RankContext, commits: Commits, manifest: Manifest, model: Model, into: Optimizer
) -> str:
    """Restores model and optimizer; what is damaged, empty if nothing. Collective.

    After damage they are undefined, until an older checkpoint is loaded.
    """
    # Before the state is described: torch's Adam has no moments to load into.
    states.prepare_load(into)
    state = states.RankState(model, into)
    memory, rank = state.memory(), context.assignment.rank
    reader = CheckpointReader(commits, manifest, model.shape)

    def work() -> str:
        try:
            reader.read(
                state.wanted(),
                KINDS,
                lambda copy, kind, values: states.place(memory, copy, kind, values),
                prefer=rank,
            )
            reader.index(rank % manifest.world_size)
        except (CheckpointError, ObjectNotFoundError) as error:
            return str(error)
        return ""

    # In a thread: it may take longer than a collective may.
    found = background.rank_barrier(context, "The restore of a checkpoint", work)
    # All ranks decide by the same list, so that they load this checkpoint or the one before
    # together.
    damage = next((one for one in context.control.all_gather(found or "") if one), "")
    if damage:
        return damage
    # A rank beyond those that saved shares another's random numbers.
    own = reader.index(rank % manifest.world_size)
    steps = max(context.control.all_gather(own.optimizer_step))
    state.finish_load(memory, steps, base64.b64decode(own.rng))
    log.info("Resumed %s from step %d.", manifest.stage, manifest.step)
    return ""
