"""Decompresses files piece by piece, so that memory stays bounded whatever a file unpacks to.

bzip2, xz and zstd files are frames one after another. The libraries' own file readers end silently
if a frame is cut off (zstd) or a later one is damaged (bz2, lzma), which would lose rows. Here both
are errors.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import zstandard

from sea_data.errors import DataFileError

PIECE_BYTES = 1 << 20
MAX_WHOLE_BYTES = 256 << 20
"""A database is held in memory, once per worker."""
_DAMAGE = (EOFError, OSError, lzma.LZMAError, zstandard.ZstdError, zlib.error)


@dataclass(frozen=True)
class FrameFormat:
    """A compressed format whose files are frames one after another."""

    decoder: Callable[[], Any]
    """Creates a decoder of one frame."""
    outputs: Callable[[Any, bytes], Iterator[bytes]]
    """The decoder's output for some bytes, in pieces of bounded size."""
    piece: int = PIECE_BYTES
    """Bytes to decode at a time."""
    padding: bytes = b""
    """Bytes that may stand between frames."""


def _bounded(decoder: Any, data: bytes) -> Iterator[bytes]:
    yield decoder.decompress(data, PIECE_BYTES)
    while not decoder.eof and not decoder.needs_input:
        yield decoder.decompress(b"", PIECE_BYTES)


def _at_once(decoder: Any, data: bytes) -> Iterator[bytes]:
    yield decoder.decompress(data)


BZIP2 = FrameFormat(bz2.BZ2Decompressor, _bounded)
XZ = FrameFormat(lzma.LZMADecompressor, _bounded, padding=b"\0")
ZSTD = FrameFormat(zstandard.ZstdDecompressor().decompressobj, _at_once, piece=1024)
"""1 KiB at a time: its output has no limit, and zeros unpack to 32,000 times their size."""


def _frames(pieces: Iterable[bytes], packing: FrameFormat) -> Iterator[bytes]:
    """The content of all frames. Raises one of `_DAMAGE`."""
    decoder: Any = None
    for piece in _split(pieces, packing.piece):
        rest = piece
        # Padding is dropped between frames only: within one, a zero byte is data.
        while rest := rest if decoder else rest.lstrip(packing.padding):
            decoder = decoder or packing.decoder()
            yield from packing.outputs(decoder, rest)
            rest = decoder.unused_data
            decoder = None if decoder.eof else decoder
    if decoder is not None:
        raise EOFError("its last frame isn't complete")


def _split(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    for piece in pieces:
        for start in range(0, len(piece), size):
            yield piece[start : start + size]


def _gzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=io.BufferedReader(_Pieces(pieces), PIECE_BYTES), mode="rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


_UNPACK: dict[str, Callable[[Iterable[bytes]], Iterator[bytes]]] = {
    ".bz2": partial(_frames, packing=BZIP2),
    ".gz": _gzip,
    ".xz": partial(_frames, packing=XZ),
    ".zst": partial(_frames, packing=ZSTD),
}
SUFFIXES = tuple(_UNPACK)


def is_compressed(name: str) -> bool:
    """True if a file of this name is compressed."""
    return name.endswith(SUFFIXES)


def decompress(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    """The content of the file `name`; pieces of a plain file pass through.

    Raises DataFileError if the data is damaged or ends too early.
    """
    if not is_compressed(name):
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
    """A small file's content, and its name without the compression suffix.

    Raises DataFileError if it is damaged or unpacks to more than `MAX_WHOLE_BYTES`.
    """
    if not is_compressed(name):
        return data, name
    content = bytearray()
    for piece in decompress([data], name):
        content += piece
        if len(content) > MAX_WHOLE_BYTES:
            raise DataFileError(name, f"unpacks to more than {MAX_WHOLE_BYTES >> 20} MiB.")
    return bytes(content), name.rpartition(".")[0]


def _damaged(name: str, why: object) -> DataFileError:
    return DataFileError(
        name, f"its compressed data is damaged or ends too early ({why}): copy it again."
    )


class _Watched:
    """An iterator that remembers whether it raised: that is no damage of the data."""

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
    """A readable file over an iterator."""

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
