"""Files and folders that a command reads; those in S3 are copied first.

What reads one file as a stream takes `data.source` instead; here is what needs a path.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from sea_cli.common import store_for
from sea_cli.progress import reading
from sea_data import urls
from sea_data.errors import DataFileError, NoSuchFileError
from sea_data.evaluation.playing.tasks import is_data
from sea_data.formats import data_files
from sea_env.domains.database import user_files
from sea_runtime.store.s3 import ObjectInfo, ObjectStore

Wanted = Callable[[str], bool]
"""Whether to copy an object, by its path in the folder."""
FOLDER = "folder, or s3:// address of one"


@contextmanager
def folder(address: str, wanted: Wanted = is_data) -> Iterator[Path]:
    """A local folder itself, or a copy of what is wanted of one in S3 until the end of the block.

    The copy is stored at `bucket/key` below a temporary folder, so messages show its origin.
    Raises NoSuchFileError where nothing is wanted, StoreError.
    """
    if not data_files.is_remote(address):
        yield Path(address)
        return
    store: ObjectStore = store_for(address)
    root = urls.folder(address)
    found = [one for one in store.list(root) if wanted(one.url.removeprefix(root))]
    if not found:
        raise NoSuchFileError(address, "holds no file of that kind: correct the address.")
    with tempfile.TemporaryDirectory(prefix="sea-s3-") as copies:
        _copy(store, found, Path(copies))
        yield _place(Path(copies), root)


@contextmanager
def file(address: str) -> Iterator[Path]:
    """One file, or a copy of one in S3 as `folder`. Raises NoSuchFileError, StoreError."""
    if not data_files.is_remote(address):
        yield Path(address)
        return
    store: ObjectStore = store_for(address)
    size = store.size(address)
    if size is None:
        raise NoSuchFileError(address, "does not exist: correct the address or upload the file.")
    with tempfile.TemporaryDirectory(prefix="sea-s3-") as copies:
        _copy(store, [ObjectInfo(address, size, "")], Path(copies))
        yield _place(Path(copies), address)


@contextmanager
def database(address: str) -> Iterator[Path]:
    """A database file, with the user's side next to it; a copy of one in S3 as `folder`."""
    if not data_files.is_remote(address):
        yield Path(address)
        return
    parent, _, name = address.rpartition("/")
    files = {name, *user_files(name)}
    with folder(parent, lambda path: path in files) as copied:
        yield copied / name


def _copy(store: ObjectStore, found: list[ObjectInfo], root: Path) -> None:
    total = sum(one.size for one in found)
    done = 0
    with reading(f"{len(found)} files from S3") as advance:
        for one in found:
            target = _place(root, one.url)
            target.parent.mkdir(parents=True, exist_ok=True)
            store.download_file(one.url, target, one.size)
            done += one.size
            advance(done, total)


def _place(root: Path, url: str) -> Path:
    """Where an object is copied to; a key may spell anything, also a way out."""
    bucket, key = urls.parse(url)
    if ".." in PurePosixPath(key).parts:
        raise DataFileError(url, "has '..' in its address: name it otherwise.")
    return root / bucket / key
