"""Uploads and downloads whole folders in parallel, with checksums and progress in the log."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple, TypeVar

from sea_data import urls
from sea_data.object_store import ChecksumMismatchError, ObjectChangedError, ObjectNotFoundError
from sea_env.tokens.model_folder import FILES as TEMPLATE_FILES
from sea_runtime.store.connection import MAX_CONNECTIONS
from sea_runtime.store.s3 import ObjectStore

_log = logging.getLogger(__name__)
_LOG_PERIOD_SECONDS = 5.0
Item = TypeVar("Item", str, Path)
Result = TypeVar("Result")


TOKENIZER_FILES = ("tokenizer.json", "config.json")


class FileSum(NamedTuple):
    """One file of a folder: `name` relative to it with slashes, size in bytes, SHA-256 in hex."""

    name: str
    size: int
    sha256: str


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def upload_folder(store: ObjectStore, path: Path, url: str) -> list[FileSum]:
    """Uploads every file below `path` to `url/<relative name>`; returns their sizes and SHA-256."""
    files = sorted(file for file in path.rglob("*") if file.is_file())

    def upload(file: Path) -> FileSum:
        name = file.relative_to(path).as_posix()
        # Upload, then checksum: an upload that fails costs no reading of the file.
        store.upload_file(file, urls.join(url, name))
        return FileSum(name, file.stat().st_size, sha256_of(file))

    sizes = {file: file.stat().st_size for file in files}
    return sorted(_in_parallel(f"upload to {url}", upload, sizes))


def download_folder(
    store: ObjectStore, url: str, path: Path, leave_out: Callable[[str], bool] = lambda _: False
) -> None:
    """Downloads every object of the folder `url` to `path/<relative name>`.

    Args:
        leave_out: True for relative names that aren't needed.

    Raises:
        ObjectNotFoundError: the folder is empty.
        ObjectChangedError: a file was overwritten during the download.
    """
    root = urls.folder(url)
    # Sizes from the listing, checked after each download: an object may be replaced in between.
    sizes = {item.url.removeprefix(root): item.size for item in store.list(root)}
    if not sizes:
        raise ObjectNotFoundError(f"The folder {root} is empty.")

    def download(name: str) -> None:
        target = _inside(path, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        store.download_file(root + name, target, sizes[name])
        if (size := target.stat().st_size) != sizes[name]:
            raise ObjectChangedError(
                f"{root}{name} has {size} bytes, but {sizes[name]} were listed: it was overwritten "
                "during the download. Download the folder again."
            )

    # A key that ends with a slash is a folder marker of some S3 tools.
    files = {
        name: size for name, size in sizes.items() if not name.endswith("/") and not leave_out(name)
    }
    _in_parallel(f"download of {root}", download, files)


def _inside(path: Path, name: str) -> Path:
    if ".." in name.split("/"):
        raise ChecksumMismatchError(f"The object name '{name}' would leave the folder {path}.")
    return path / name


def _in_parallel(
    what: str, transfer: Callable[[Item], Result], sizes: Mapping[Item, int]
) -> list[Result]:
    """Transfers all items; `sizes` are their bytes, for the log."""
    results: list[Result] = []
    done, total, logged = 0, sum(sizes.values()), time.monotonic()
    with ThreadPoolExecutor(MAX_CONNECTIONS, thread_name_prefix="s3") as pool:
        futures = {pool.submit(transfer, item): size for item, size in sizes.items()}
        try:
            for future in as_completed(futures):
                results.append(future.result())
                done += futures[future]
                if time.monotonic() - logged > _LOG_PERIOD_SECONDS:
                    logged = time.monotonic()
                    _log.info("%s: %.1f of %.1f MB", what, done / 1e6, total / 1e6)
        except BaseException:
            # Leaving the block waits for all that is queued: drop it, so that the error shows now.
            pool.shutdown(cancel_futures=True)
            raise
    return results


def download_tokenizer(store: ObjectStore, url: str, target: Path) -> Path:
    """Downloads only what a renderer needs: tokenizer, config, and the chat template if any."""
    target.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        body = store.get(urls.join(urls.folder(url), name))
        # Read here: a damaged file fails with its name instead of deep inside a renderer.
        if name == "config.json":
            json.loads(body)
        (target / name).write_bytes(body)
    for name in TEMPLATE_FILES:
        try:
            (target / name).write_bytes(store.get(urls.join(urls.folder(url), name)))
        except ObjectNotFoundError:
            # A template of an earlier model in this folder would be used otherwise.
            (target / name).unlink(missing_ok=True)
    return target
