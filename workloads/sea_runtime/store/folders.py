"""Uploads and downloads whole folders in parallel, with checksums and progress in the log."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from sea_data import urls
from sea_data.object_store import ChecksumMismatchError, ObjectNotFoundError
from sea_runtime.store.s3 import ObjectStore

_log = logging.getLogger(__name__)
_LOG_PERIOD_SECONDS = 5.0
Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in total) after each file."""


class FileSum(NamedTuple):
    """One file of a folder: `name` relative to it with slashes, size in bytes, SHA-256 in hex."""

    name: str
    size: int
    sha256: str


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def upload_folder(
    store: ObjectStore, path: Path, url: str, progress: Progress | None = None
) -> list[FileSum]:
    """Uploads every file below `path` to `url/<relative name>`; returns their sizes and SHA-256."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    total = sum(file.stat().st_size for file in files)

    def one(file: Path) -> FileSum:
        name = file.relative_to(path).as_posix()
        store.upload_file(file, urls.join(url, name))
        return FileSum(name, file.stat().st_size, sha256_of(file))

    jobs = [lambda file=file: one(file) for file in files]
    return _in_parallel(f"upload to {url}", jobs, store.connections, total, progress)


def download_folder(
    store: ObjectStore,
    url: str,
    path: Path,
    sums: dict[str, FileSum] | None = None,
    progress: Progress | None = None,
) -> list[FileSum]:
    """Downloads every object of the folder `url` to `path/<relative name>`.

    Raises:
        ObjectNotFoundError: the folder is empty, or lacks a file that `sums` names.
        ChecksumMismatchError: a file differs from its sum.
    """
    root = urls.folder(url)
    sizes = {item.url.removeprefix(root): item.size for item in store.list(root)}
    missing = sorted(set(sums or {}) - set(sizes))
    if not sizes or missing:
        raise ObjectNotFoundError(
            f"The folder {root} {'lacks ' + ', '.join(missing[:5]) if missing else 'is empty'}."
        )

    def one(name: str) -> FileSum:
        target = _inside(path, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        store.download_file(root + name, target, sizes[name])
        got = FileSum(name, target.stat().st_size, sha256_of(target))
        _check(root, got, (sums or {}).get(name, got), sizes[name])
        return got

    jobs = [lambda name=name: one(name) for name in sizes if not name.endswith("/")]
    total = sum(sizes.values())
    return _in_parallel(f"download of {root}", jobs, store.connections, total, progress)


def _inside(path: Path, name: str) -> Path:
    if ".." in name.split("/"):
        raise ChecksumMismatchError(f"The object name '{name}' would leave the folder {path}.")
    return path / name


def _check(root: str, got: FileSum, wanted: FileSum, listed: int) -> None:
    if got != wanted or got.size != listed:
        raise ChecksumMismatchError(
            f"{root}{got.name} has {got.size} bytes with SHA-256 {got.sha256}, but "
            f"{wanted.size} bytes with {wanted.sha256} were written. The object is damaged or was "
            "overwritten; restore it or go back to an older checkpoint."
        )


def _in_parallel(
    what: str,
    jobs: Iterable[Callable[[], FileSum]],
    workers: int,
    total: int,
    progress: Progress | None,
) -> list[FileSum]:
    done: list[FileSum] = []
    logged = time.monotonic()
    with ThreadPoolExecutor(workers, thread_name_prefix="s3") as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            for future in as_completed(futures):
                done.append(future.result())
                size = sum(item.size for item in done)
                if progress:
                    progress(size, total)
                if time.monotonic() - logged > _LOG_PERIOD_SECONDS:
                    logged = time.monotonic()
                    _log.info("%s: %.1f of %.1f MB", what, size / 1e6, total / 1e6)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return sorted(done)
