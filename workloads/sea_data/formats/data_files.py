"""Opens data files at a local path or in S3, plain or compressed, as a stream or as a local copy.

`lines` serves readers that read a file once; `local` gives `RowFile` a file to seek in.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from sea_data import foreign_files
from sea_data.errors import DataFileError, NoSuchFileError
from sea_data.formats import compression
from sea_data.formats.jsonl import split
from sea_data.object_store import ObjectNotFoundError
from sea_data.urls import SCHEME

PIECE_BYTES = 8 << 20
_BEGIN_BYTES = 4096
Progress = Callable[[int, int], None]
"""Called with (bytes read, size of the file as stored)."""


class Store(Protocol):
    """The part of `object_store.ObjectStore` that reading needs."""

    def size(self, url: str) -> int | None: ...

    def read_range(self, url: str, start: int, length: int) -> bytes: ...


def lines(
    address: str, store: Store | None = None, progress: Progress | None = None
) -> Iterator[bytes]:
    """All lines of a file, including blank ones, so that counting them gives line numbers.

    Raises:
        NoSuchFileError: there is no such file.
        DataFileError: it can't be read to its end.
        StoreError: the store doesn't answer or refuses.
    """
    return split(pieces(address, store, progress))


def pieces(
    address: str, store: Store | None = None, progress: Progress | None = None
) -> Iterator[bytes]:
    """The file's content, decompressed, in pieces of some MiB. Raises as `lines`."""
    raw = _remote(address, store, progress) if is_remote(address) else _local(address, progress)
    if compression.is_compressed(address):
        # Before it is unpacked: a pointer or a page would be damaged data.
        raw = _checked(raw, foreign_files.refuse_unpacked, address)
    return _checked(compression.decompress(raw, address), foreign_files.refuse, address)


def _checked(
    pieces: Iterator[bytes], refuse: Callable[[bytes, str], None], address: str
) -> Iterator[bytes]:
    checked = False
    for piece in pieces:
        if piece and not checked:  # decoders give empty pieces until they know some content
            refuse(piece, address)
            checked = True
        yield piece


def text(path: Path) -> str:
    """A small local file of UTF-8 text; raises DataFileError for other bytes, and OSError."""
    return foreign_files.text(path.read_bytes(), str(path))


def is_remote(address: str) -> bool:
    return address.startswith(SCHEME)


def local(address: str, folder: Path, store: Store | None = None) -> Path:
    """A plain local file with the content: the file itself, or a copy in `folder`.

    A finished copy is reused while the original has the same size (S3), or the same size and
    modification time (local). Raises as `lines`.
    """
    if not is_remote(address) and not compression.is_compressed(address):
        _size(address)
        foreign_files.refuse(_begin(address), address)
        return Path(address)
    copy = folder / f"{hashlib.sha256(_version(address, store).encode()).hexdigest()[:24]}.jsonl"
    if not copy.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Renamed once it is whole: a copy of that name is complete, whenever this process was
        # killed.
        partial = copy.with_suffix(".partial")
        with partial.open("wb") as file:
            for piece in pieces(address, store):
                file.write(piece)
        partial.replace(copy)
    return copy


def _version(address: str, store: Store | None) -> str:
    if is_remote(address):
        return f"{address}\n{_remote_size(address, store)}"
    _size(address)
    stat = Path(address).stat()
    return f"{Path(address).resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}"


def _size(address: str) -> int:
    if Path(address).is_dir():
        raise DataFileError(address, "is a folder: name a file in it.")
    try:
        return Path(address).stat().st_size
    except FileNotFoundError as error:
        raise NoSuchFileError(address, "No such file: correct the path.") from error
    except OSError as error:
        raise DataFileError(address, f"can't be read: {error.strerror}.") from error


def _begin(address: str) -> bytes:
    try:
        with Path(address).open("rb") as file:
            return file.read(_BEGIN_BYTES)
    except OSError as error:
        raise DataFileError(address, f"can't be read: {error.strerror}.") from error


def _local(address: str, progress: Progress | None) -> Iterator[bytes]:
    size, done = _size(address), 0
    try:
        with Path(address).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            while piece := file.read(PIECE_BYTES):
                yield piece
                done += len(piece)
                if progress is not None:
                    progress(done, size)
    except OSError as error:
        raise DataFileError(address, f"can't be read: {error.strerror}.") from error


def _remote(address: str, store: Store | None, progress: Progress | None) -> Iterator[bytes]:
    assert store is not None, "the caller opens the store"
    size = _remote_size(address, store)
    for start in range(0, size, PIECE_BYTES):
        yield store.read_range(address, start, PIECE_BYTES)
        if progress is not None:
            progress(min(size, start + PIECE_BYTES), size)


def _remote_size(address: str, store: Store | None) -> int:
    assert store is not None, "the caller opens the store"
    try:
        size = store.size(address)
    except ObjectNotFoundError:  # the bucket itself
        size = None
    if size is None:
        raise NoSuchFileError(address, "does not exist: upload the file or correct the address.")
    return size
