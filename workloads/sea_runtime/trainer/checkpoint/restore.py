"""Loads the newest committed checkpoint of a stage into a model and its optimizer.

Rank 0 takes the stage over (fence) and reads the head; every pod downloads the objects that the
manifest names and checks size and SHA-256; Megatron assembles what each rank needs, whatever the
number of ranks that saved it.
"""

import logging
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from megatron.core import dist_checkpointing

from sea_data.object_store import StoreError
from sea_runtime.store.folders import sha256_of
from sea_runtime.trainer import background
from sea_runtime.trainer.checkpoint import commit
from sea_runtime.trainer.checkpoint import state as states
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import Head, Manifest, StoredObject
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.device import device_names
from sea_runtime.trainer.errors import CheckpointError
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer import Optimizer

log = logging.getLogger(__name__)
PARALLEL_DOWNLOADS = 8


def newest(context: RankContext, commits: Commits) -> Manifest | None:
    """Takes the stage over for this attempt; its newest checkpoint, on every rank. Collective."""
    text: str | None = None
    if context.leads:
        # Fence before reading `newest`: an older attempt that commits in between would be
        # overlooked.
        head = commits.fence()
        background.start("abandoned checkpoints", lambda: _clean_up(commits, head))
        entry = head.newest
        if entry is not None:
            text = commits.store.get(commits.url(entry.manifest_key)).decode()
    # Every rank loads the manifest that rank 0 saw; two reads could see two heads.
    text = context.control.broadcast(text)
    return Manifest.model_validate_json(text) if text else None


def _clean_up(commits: Commits, head: Head) -> None:
    try:
        commit.remove_abandoned(commits, head)
    except (StoreError, ValueError) as error:
        log.warning("Objects of checkpoints that were never committed are kept: %s", error)


def load(
    context: RankContext, commits: Commits, manifest: Manifest, model: Model, into: Optimizer
) -> None:
    """Restores model and optimizer. Collective.

    Raises:
        CheckpointError: an object differs from what the manifest names.
    """
    folder = context.pod.data_dir / "restore" / f"{manifest.stage}-{manifest.step:06d}"
    objects = [one for one in manifest.objects if one.name]
    first = context.assignment.local_rank == 0
    background.rank_barrier(
        context, "restore", (lambda: _download(commits, objects, folder)) if first else None
    )
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
            raise CheckpointError(
                f"{url} differs from what the manifest names (size or SHA-256): restore the "
                "object, or remove the checkpoint from head.json to resume from the one before."
            )

    with ThreadPoolExecutor(PARALLEL_DOWNLOADS, thread_name_prefix="download") as pool:
        # list: pool.map raises a download's error only when its result is taken.
        list(pool.map(one, objects))
