"""Unpacks bzip2, xz and zstd, whose files are frames one after another, for `compression`.

The libraries' own file readers end without a word where a frame is cut off (zstd) or where a later
one is damaged (bz2, lzma): rows would be lost and nobody told. Here both are errors.
"""

import bz2
import lzma
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import zstandard

DAMAGE = (EOFError, OSError, lzma.LZMAError, zstandard.ZstdError)
_PIECE = 1 << 20


@dataclass(frozen=True)
class Format:
    """One way of packing."""

    decoder: Callable[[], Any]
    """Makes what decodes one frame."""
    outputs: Callable[[Any, bytes], Iterator[bytes]]
    """What a decoder makes of some bytes, in pieces of bounded size."""
    bite: int = _PIECE
    """Bytes to decode at a time."""
    padding: bytes = b""
    """May stand between frames."""


def _bounded(decoder: Any, data: bytes) -> Iterator[bytes]:
    yield decoder.decompress(data, _PIECE)
    while not decoder.eof and not decoder.needs_input:
        yield decoder.decompress(b"", _PIECE)


def _at_once(decoder: Any, data: bytes) -> Iterator[bytes]:
    yield decoder.decompress(data)


BZIP2 = Format(bz2.BZ2Decompressor, _bounded)
XZ = Format(lzma.LZMADecompressor, _bounded, padding=b"\0")
ZSTD = Format(zstandard.ZstdDecompressor().decompressobj, _at_once, bite=1024)
"""By the kilobyte: it has no limit of output, and zeros unpack to 32,000 times their size."""


def unpacked(pieces: Iterable[bytes], packing: Format) -> Iterator[bytes]:
    """The content of all frames. Raises one of `DAMAGE`."""
    decoder: Any = None
    for bite in _bites(pieces, packing.bite):
        rest = bite
        while rest := rest if decoder else rest.lstrip(packing.padding):
            decoder = decoder or packing.decoder()
            yield from packing.outputs(decoder, rest)
            rest = decoder.unused_data
            decoder = None if decoder.eof else decoder
    if decoder is not None:
        raise EOFError("its last frame isn't complete")


def _bites(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    for piece in pieces:
        for start in range(0, len(piece), size):
            yield piece[start : start + size]
