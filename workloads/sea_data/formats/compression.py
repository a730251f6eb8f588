"""Pieces of a compressed file -> pieces of its content, one after another.

Never much more than a piece is held, whatever the file unpacks to.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from sea_data.formats import frames
from sea_data.formats.errors import DataFileError

PIECE_BYTES = 1 << 20
LARGEST_WHOLE = 256 << 20
"""Bytes: a database is held in memory, once a worker."""
_DAMAGE = (*frames.DAMAGE, zlib.error)


def _gzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=io.BufferedReader(_Pieces(pieces), PIECE_BYTES), mode="rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


_UNPACK: dict[str, Callable[[Iterable[bytes]], Iterator[bytes]]] = {
    ".bz2": partial(frames.unpacked, packing=frames.BZIP2),
    ".gz": _gzip,
    ".xz": partial(frames.unpacked, packing=frames.XZ),
    ".zst": partial(frames.unpacked, packing=frames.ZSTD),
}
SUFFIXES = tuple(_UNPACK)


def packed(name: str) -> bool:
    """Whether a file of this name is compressed."""
    return name.endswith(SUFFIXES)


def unpacked(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    """The content of the file `name`; pieces of a plain file pass through.

    Raises DataFileError where the data are damaged or end too early.
    """
    if not packed(name):
        yield from pieces
        return
    source = _Watched(pieces)
    try:
        yield from _UNPACK["." + name.rpartition(".")[2]](source)
    except _DAMAGE as error:
        if source.failed:
            raise
        raise _damaged(name, error) from error
    if source.empty:
        raise _damaged(name, "it holds nothing at all")


def whole(data: bytes, name: str) -> tuple[bytes, str]:
    """A small file's content, and its name without the suffix of the packing.

    Raises DataFileError also where it unpacks to more than `LARGEST_WHOLE`.
    """
    if not packed(name):
        return data, name
    content = bytearray()
    for piece in unpacked([data], name):
        content += piece
        if len(content) > LARGEST_WHOLE:
            raise DataFileError(name, f"unpacks to more than {LARGEST_WHOLE >> 20} MiB.")
    return bytes(content), name.rpartition(".")[0]


def _damaged(name: str, why: object) -> DataFileError:
    return DataFileError(
        name, f"its compressed data are damaged or end too early ({why}): copy it anew."
    )


class _Watched:
    """An iterator that remembers that it failed, which is no damage of what it gave."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self.empty = True
        self.failed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            piece = next(self._pieces)
        except StopIteration:
            raise
        except Exception:
            self.failed = True
            raise
        self.empty = self.empty and not piece
        return piece


class _Pieces(io.RawIOBase):
    """A file over an iterator."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            try:
                self._rest = memoryview(next(self._pieces))
            except StopIteration:
                return 0
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
