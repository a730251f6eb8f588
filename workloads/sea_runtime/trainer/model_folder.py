"""Brings a Hugging Face folder from S3 to the pod, once for all its processes."""

import hashlib
import shutil
from pathlib import Path

from sea_runtime.store.folders import download_folder
from sea_runtime.trainer.job import Job
from sea_runtime.trainer.together import together

COMPLETE = ".complete"


def fetch(job: Job, url: str) -> Path:
    """Local copy of the folder at `url`; collective."""
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    folder = job.pod.data_dir / "models" / name
    missing = job.world.local_rank == 0 and not (folder / COMPLETE).exists()
    together(job, "download", (lambda: _download(job, url, folder)) if missing else None)
    return folder


def _download(job: Job, url: str, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    download_folder(job.store, url, folder)
    (folder / COMPLETE).touch()
