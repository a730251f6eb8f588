"""Pieces of a `.gz`, `.xz` or `.zst` file -> pieces of its content, one after another.

Never more than a piece is held, whatever the file unpacks to.
"""

import gzip
import importlib
import io
import lzma
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from sea_workloads.data.errors import DataFileError

SUFFIXES = (".gz", ".xz", ".zst")
PIECE_BYTES = 1 << 20
LARGEST_WHOLE = 256 << 20
"""Bytes: a database is held in memory, once a worker."""
_DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError)


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
    source = _Pieces(pieces)
    try:
        with _open(io.BufferedReader(source, PIECE_BYTES), name) as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except _DAMAGE as error:
        if source.failure is not None:
            raise source.failure from error
        raise DataFileError(
            name, f"its compressed data are damaged or end too early ({error}): copy it anew."
        ) from error


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


def _open(file: Any, name: str) -> Any:
    if name.endswith(".gz"):
        return gzip.GzipFile(fileobj=file, mode="rb")
    if name.endswith(".xz"):
        return lzma.LZMAFile(file)
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError as error:
        raise DataFileError(
            name,
            "is compressed by zstd, and the Python package zstandard isn't installed: install it, "
            "or pack the file with gzip.",
        ) from error
    return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)


class _Pieces(io.RawIOBase):
    """A file over an iterator; keeps the iterator's own error apart from damage of the data."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")
        self.failure: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            try:
                self._rest = memoryview(next(self._pieces))
            except StopIteration:
                return 0
            except Exception as error:
                self.failure = error
                raise OSError(str(error)) from error
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
