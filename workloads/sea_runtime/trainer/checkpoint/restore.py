"""Loads the newest committed checkpoint of a stage into a model and its optimizer.

Rank 0 takes the stage over (fence) and reads the head; every pod downloads the objects that the
manifest names, checks size and SHA-256, and Megatron puts together what each rank needs, whatever
the size of the world that saved it.
"""

import logging
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from megatron.core import dist_checkpointing

from sea_data.object_store import StoreError
from sea_runtime.store.folders import sha256_of
from sea_runtime.trainer.background import Background
from sea_runtime.trainer.checkpoint import abandoned
from sea_runtime.trainer.checkpoint import state as states
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import Head
from sea_runtime.trainer.checkpoint.manifest import Manifest, StoredObject
from sea_runtime.trainer.errors import CheckpointError
from sea_runtime.trainer.job import Job
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer import Optimizer, device_names
from sea_runtime.trainer.together import together

log = logging.getLogger(__name__)
PARALLEL_DOWNLOADS = 8


def newest(job: Job, commits: Commits) -> Manifest | None:
    """Takes the stage over for this attempt and finds its newest checkpoint, on every rank."""
    text: str | None = None
    if job.leads:
        head = commits.fence()
        Background("abandoned checkpoints", lambda: _tidy(commits, head))
        entry = head.newest
        if entry is not None:
            text = commits.store.get(commits.url(entry.manifest_key)).decode()
    text = job.control.broadcast(text)
    return Manifest.model_validate_json(text) if text else None


def _tidy(commits: Commits, head: Head) -> None:
    try:
        abandoned.remove(commits, head)
    except (StoreError, ValueError) as error:
        log.warning("Objects of checkpoints that were never committed stay: %s", error)


def load(job: Job, commits: Commits, manifest: Manifest, model: Model, into: Optimizer) -> None:
    """Fills model and optimizer; CheckpointError names an object that isn't what was written."""
    folder = job.pod.data_dir / "restore" / f"{manifest.stage}-{manifest.step:06d}"
    objects = [one for one in manifest.objects if one.name]
    first = job.world.local_rank == 0
    together(job, "restore", (lambda: _download(commits, objects, folder)) if first else None)
    states.prepare_load(into)
    with device_names():
        wanted = states.sharded(model, into, loading=True)
        layout = model.layout
        wanted["rng"] = states.random_places(layout.rank, layout.world, manifest.world)
        loaded = dist_checkpointing.load(wanted, str(folder))
        states.apply(model, into, loaded)
    job.control.barrier()
    if job.world.local_rank == 0:
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
                f"{url} isn't what the manifest names (size or SHA-256 differ): restore the "
                "object, or remove the checkpoint from head.json to go on from the one before."
            )

    with ThreadPoolExecutor(PARALLEL_DOWNLOADS, thread_name_prefix="download") as pool:
        list(pool.map(one, objects))
