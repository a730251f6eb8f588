"""Loads the newest committed checkpoint of a stage into a model and its optimizer.

Rank 0 takes the stage over (fence) and reads the head; every pod downloads the objects that the
manifest names and checks size and SHA-256; Megatron assembles what each rank needs, whatever the
number of ranks that saved it. A damaged checkpoint is set aside, and the one before is loaded.
"""

import logging
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from megatron.core import dist_checkpointing

from sea_data import urls
from sea_data.object_store import ObjectNotFoundError, StoreError
from sea_runtime.store.folders import sha256_of
from sea_runtime.trainer import background
from sea_runtime.trainer.checkpoint import commit
from sea_runtime.trainer.checkpoint import state as states
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import Entry, Head, Manifest, StoredObject
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.device import device_names
from sea_runtime.trainer.errors import CheckpointError
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer import Optimizer

log = logging.getLogger(__name__)
PARALLEL_DOWNLOADS = 8


def restore(
    context: RankContext, commits: Commits, model: Model, into: Optimizer
) -> Manifest | None:
    """Takes the stage over and loads its newest sound checkpoint. Collective.

    A damaged one is set aside in the head, and the one before is loaded; the coordinator's ledger
    follows, since it asks the head where training goes on.

    Returns:
        The manifest of what was loaded, None if the stage has no checkpoint.

    Raises:
        CheckpointError: all checkpoints of the stage are damaged.
    """
    entry, damaged = _take_over(context, commits)
    while entry is not None:
        manifest, damage = _manifest(context, commits, entry)
        if manifest is not None:
            damage = _fetch(context, commits, manifest)
            if not damage:
                _load(context, manifest, model, into)
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


_Newest = tuple[Entry | None, str]
"""The newest checkpoint, and a sentence if others are set aside as damaged."""


def _take_over(context: RankContext, commits: Commits) -> _Newest:
    """The newest checkpoint, on every rank, once no older attempt can commit any more."""
    if not context.leads:
        return _received(context.control.broadcast(None))
    # Fence before reading `newest`: an older attempt that commits in between would be overlooked.
    head = commits.fence()
    background.start("abandoned checkpoints", lambda: _clean_up(commits, head))
    steps = ", ".join(str(one.step) for one in head.damaged)
    return _sent(context, head, f"steps {steps} are set aside as damaged." if steps else "")


def _set_aside(context: RankContext, commits: Commits, entry: Entry, damage: str) -> _Newest:
    """The checkpoint before a damaged one, on every rank."""
    if not context.leads:
        return _received(context.control.broadcast(None))
    log.error("The checkpoint of step %d is damaged and set aside. %s", entry.step, damage)
    return _sent(context, commits.set_aside(entry), damage)


def _sent(context: RankContext, head: Head, damaged: str) -> _Newest:
    text = None if head.newest is None else head.newest.model_dump_json()
    return _received(context.control.broadcast((text, damaged)))


def _received(found: tuple[str | None, str]) -> _Newest:
    text, damaged = found
    return (None if text is None else Entry.model_validate_json(text)), damaged


def _manifest(context: RankContext, commits: Commits, entry: Entry) -> tuple[Manifest | None, str]:
    """The manifest on every rank, or what is wrong with it."""
    text, damage = "", ""
    if context.leads:
        url = commits.url(entry.manifest_key)
        try:
            text = commits.store.get(url).decode()
            damage = foreign(Manifest.model_validate_json(text), entry, commits)
        except (ObjectNotFoundError, ValueError) as error:
            damage = f"{url} is no manifest: {error}"
        text = "" if damage else text
    # Every rank loads the manifest that rank 0 saw; two reads could see two heads.
    text, damage = context.control.broadcast((text, damage))
    return (Manifest.model_validate_json(text) if text else None), damage


def _clean_up(commits: Commits, head: Head) -> None:
    try:
        commit.remove_abandoned(commits, head)
    except (StoreError, ValueError) as error:
        log.warning("Objects of checkpoints that were never committed are kept: %s", error)


def foreign(manifest: Manifest, entry: Entry, commits: Commits) -> str:
    """Why a manifest isn't that of the entry, empty if it is."""
    root = commits.key(urls.folder(commits.run_url))
    stored = [*manifest.objects, *([manifest.ledger] if manifest.ledger else [])]
    others = [one.key for one in stored if not one.key.startswith(root)]
    if manifest.step != entry.step or others:
        return (
            f"{commits.url(entry.manifest_key)} is the manifest of another checkpoint: step "
            f"{manifest.step}, objects {', '.join(others[:3]) or 'of this run'}."
        )
    return ""


def _folder(context: RankContext, manifest: Manifest) -> Path:
    return context.pod.data_dir / "restore" / f"{manifest.stage}-{manifest.step:06d}"


def _fetch(context: RankContext, commits: Commits, manifest: Manifest) -> str:
    """Downloads the objects to each pod; what is wrong with them, empty if nothing. Collective."""
    folder = _folder(context, manifest)
    objects = [one for one in manifest.objects if one.name]
    first = context.assignment.local_rank == 0

    def work() -> str:
        try:
            _download(commits, objects, folder)
            # Not loaded here, but the coordinator can't go on from a checkpoint without it.
            if context.leads and manifest.ledger is not None:
                _require_size(commits, manifest.ledger)
        except (CheckpointError, ObjectNotFoundError) as error:
            return str(error)
        return ""

    found = background.rank_barrier(context, "restore", work if first else None)
    # All ranks decide by the same list, so that they load this checkpoint or the one before
    # together.
    return next((one for one in context.control.all_gather(found or "") if one), "")


def _require_size(commits: Commits, stored: StoredObject) -> None:
    url = commits.url(stored.key)
    size = commits.store.size(url)
    if size != stored.size:
        raise CheckpointError(f"{url} has {size} bytes, the manifest names {stored.size}.")


def _load(context: RankContext, manifest: Manifest, model: Model, into: Optimizer) -> None:
    """Restores model and optimizer from the pod's folder. Collective."""
    folder = _folder(context, manifest)
    # Before `sharded`: Megatron plans the load by the states that exist.
    states.prepare_load(into)
    with device_names():
        wanted = states.sharded(model, into, loading=True)
        rank, world_size = model.place.rank, model.layout.world_size
        wanted["rng"] = states.rng_shards(rank, world_size, manifest.world_size)
        # Collective: ranks exchange what each of them reads.
        loaded = dist_checkpointing.load(wanted, str(folder))
        states.apply(model, into, loaded)
    # The other ranks of the pod read the same files.
    context.control.barrier()
    if context.assignment.local_rank == 0:
        shutil.rmtree(folder, ignore_errors=True)
    log.info("Resumed %s from step %d.", manifest.stage, manifest.step)


def _download(commits: Commits, objects: Iterable[StoredObject], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def one(stored: StoredObject) -> None:
        path = folder / stored.name
        url = commits.url(stored.key)
        commits.store.download_file(url, path, stored.size)
        if path.stat().st_size != stored.size or sha256_of(path) != stored.sha256:
            raise CheckpointError(f"{url} differs from what the manifest names (size or SHA-256).")

    with ThreadPoolExecutor(PARALLEL_DOWNLOADS, thread_name_prefix="download") as pool:
        # list: pool.map raises a download's error only when its result is taken.
        list(pool.map(one, objects))
