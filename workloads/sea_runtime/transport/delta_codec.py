"""Lossless differences between two versions of a block's bytes. Pure.

An optimizer step at RL's learning rates changes few elements of a bf16 tensor, and most of those by
one unit in the last place. A delta therefore stores, for each changed element, how many unchanged
ones are before it and by how much its bits differ as an integer, both as single bytes, which
zstd's Huffman coder then packs: about 2 % of the bytes where 4 % of the elements change, half of
what XOR with zstd-1 needs, at several GB/s per core (`make bench-weights`). The bits are only
integers to this file: NaN payloads, infinities and -0 are exact.

A delta names the checksum of the bytes that it is for and checks its own, so it is refused for any
other base, truncated or damaged. `apply` writes to a buffer of its own: the base stays as it is,
and applying twice changes nothing.

Layout, little-endian: HEADER, then one frame per CHUNK elements: FRAME, then its parts.
"""

import struct
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import xxhash
import zstandard

from sea_runtime.errors import RuntimeFailure

CHUNK = 1 << 20
"""Elements coded at a time; the scratch memory of one thread is 4 to 8 bytes for each."""
MAGIC = b"SEA\xce"
FORMAT = 1
HEADER = struct.Struct("<4sHHQQQ")
"""MAGIC, FORMAT, bytes per element, elements, xxh3 of the base, xxh3 of all frames."""
FRAME = struct.Struct("<III")
"""Bytes of gaps, values and wide values as stored; gaps of RAW: the values are the new bytes."""
RAW = 0xFFFFFFFF
Bytes = npt.NDArray[np.uint8]
Function = TypeVar("Function", bound=Callable[..., Any])
# Greedy matching with a tiny window finds next to nothing, which is wanted: what is left of zstd is
# its Huffman coder. Twice as fast as zstd-1 on these bytes, and not larger.
_HUFFMAN = zstandard.ZstdCompressionParameters.from_level(
    1,
    window_log=17,
    hash_log=6,
    chain_log=6,
    min_match=7,
    strategy=zstandard.STRATEGY_FAST,
    write_checksum=False,
)


class DeltaError(RuntimeFailure):
    """The delta can't be used: take the anchor."""

    permanent = False


class WrongBaseError(DeltaError):
    """The delta is for other bytes than those that are held."""


class DamagedDeltaError(DeltaError):
    """The delta is truncated, damaged, or of a newer format."""


def _differences(
    old: Any, new: Any, dirty: Any, gaps: Any, values: Any, wide: Any, size: int
) -> tuple[int, int, int]:
    """Fills gaps, values and wide values; returns how many of each there are.

    Args:
        old: the base's bytes as uint64 [words]; `new`: as many.
        dirty: scratch for an index per word, and one more.
        size: bytes per element.
    """
    bits, within = 8 * size, 8 // size
    half, mask, one = 1 << (bits - 1), (1 << bits) - 1, np.uint64(1)
    top = np.uint64(0)
    for lane in range(within):
        top |= one << np.uint64(bits * lane + bits - 1)
    k, n, v, w, last = 0, 0, 0, 0, -1
    # Without a branch that depends on the data: where one word in seven differs, as at 4 % changed
    # elements, each wrong guess of the processor would cost as much as 20 elements.
    for word in range(old.size):
        dirty[k] = word
        k += old[word] != new[word]
    for j in range(k):
        word = dirty[j]
        a, b = old[word], new[word]
        # The top bit of each element that differs: adding carries into it what is set below.
        found = (((a ^ b) & ~top) + ~top | (a ^ b)) & top
        while found != 0:
            lowest = found & (~found + one)
            found ^= lowest
            shift = int(_BIT_OF[(lowest * _DE_BRUIJN) >> np.uint64(58)]) + 1 - bits
            i = word * within + shift // bits
            gap, last = i - last - 1, i
            while gap >= 255:
                gaps[n] = 255
                n += 1
                gap -= 255
            gaps[n] = gap
            n += 1
            # The difference modulo 2^bits as a signed number, zigzag: 0, -1, 1, -2 -> 0, 1, 2, 3.
            difference = np.int64(b >> np.uint64(shift)) - np.int64(a >> np.uint64(shift))
            step = ((difference + half) & mask) - half
            zigzag = (step << 1) ^ (step >> 63)
            if zigzag >= 255:
                wide[w] = zigzag
                w += 1
            values[v] = min(zigzag, 255)
            v += 1
    return n, v, w


def _patch(out: Any, gaps: Any, values: Any, wide: Any) -> bool:
    """Adds the differences to `out`; False if they don't fit, with `out` undefined."""
    at, v, w = -1, 0, 0
    for gap in gaps:
        at += gap
        if gap != 255:
            at += 1
            if at >= out.size or v >= values.size:
                return False
            zigzag = np.int64(values[v])
            v += 1
            if zigzag == 255:
                if w >= wide.size:
                    return False
                zigzag = np.int64(wide[w])
                w += 1
            # Truncated to the element's bits, which is the sum modulo 2^bits.
            out[at] = np.int64(out[at]) + ((zigzag >> 1) ^ -(zigzag & 1))
    return v == values.size and w == wide.size


@cache
def _compiled(function: Function) -> Function:
    """Compiles with numba, without the GIL; once per machine if a cache folder is writable.

    numba is imported here and not with this module: vLLM 0.32 looks through all loaded modules when
    its CPU worker starts (`register_kernels`), and breaks on objects of llvmlite.
    """
    import numba

    try:
        compiled: Function = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither this folder nor the user's cache is writable
        compiled = numba.njit(nogil=True)(function)
    return compiled


class _Scratch(threading.local):
    """What each thread keeps between blocks."""

    def __init__(self) -> None:
        # One more: an index is written before it is known whether it counts.
        self.dirty = np.empty(CHUNK // 2 + 1, np.int32)
        # A gap of g elements takes g // 255 bytes more than its own.
        self.gaps = np.empty(CHUNK + CHUNK // 255 + 1, np.uint8)
        self.values = np.empty(CHUNK, np.uint8)
        self.wide = {size: np.empty(CHUNK, dtype) for size, dtype in _UNSIGNED.items()}
        self.compressor = zstandard.ZstdCompressor(compression_params=_HUFFMAN)
        self.decompressor = zstandard.ZstdDecompressor()


_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
# The position of a word's only set bit: the top six bits of the product with a de Bruijn sequence
# are different for each (https://www.chessprogramming.org/BitScan). numba has no other way.
_BIT_OF = np.zeros(64, np.int64)
for _bit in range(64):
    _BIT_OF[(int(_DE_BRUIJN) << _bit) % 2**64 >> 58] = _bit
_UNSIGNED: dict[int, npt.DTypeLike] = {1: np.uint8, 2: np.uint16, 4: np.uint32}
_scratch = _Scratch()


def encode(base: Bytes, new: Bytes, itemsize: int, base_checksum: int) -> bytes:
    """What turns `base` into `new`; at most some bytes per mebibyte more than `new` itself.

    Args:
        base: uint8 [n], at a multiple of 8 bytes in memory; `new`: as many.
        itemsize: bytes per element; 8 or what doesn't divide n is stored as bytes.
        base_checksum: xxh3 of the base.
    """
    size = itemsize if itemsize in _UNSIGNED and base.size % itemsize == 0 else 1
    step = CHUNK * size
    frames = [
        piece
        for at in range(0, base.size, step)
        for piece in _frame(base[at : at + step], new[at : at + step], size)
    ]
    body = xxhash.xxh3_64()
    for piece in frames:
        body.update(piece)
    header = HEADER.pack(MAGIC, FORMAT, size, base.size // size, base_checksum, body.intdigest())
    return b"".join([header, *frames])


def _frame(base: Bytes, new: Bytes, size: int) -> list[bytes]:
    scratch, wide = _scratch, _scratch.wide[size]
    words, values = (_words(base), _words(new)), scratch.values
    n, v, w = _compiled(_differences)(*words, scratch.dirty, scratch.gaps, values, wide, size)
    # Byte planes: the high bytes of wide values are alike.
    planes = np.ascontiguousarray(wide[:w].view(np.uint8).reshape(w, size).T)
    parts = [_packed(part) for part in (scratch.gaps[:n], values[:v], planes)]
    if sum(map(len, parts)) >= base.size:
        parts = [b"", new.tobytes(), b""]
        return [FRAME.pack(RAW, base.size, 0), *parts]
    return [FRAME.pack(*map(len, parts)), *parts]


def _words(data: Bytes) -> npt.NDArray[np.uint64]:
    """The bytes as uint64; a copy with zeros at its end where they don't fill the last one."""
    if data.size % 8:
        data = np.concatenate([data, np.zeros(-data.size % 8, np.uint8)])
    return data.view(np.uint64)


def _packed(part: Bytes) -> bytes:
    return _scratch.compressor.compress(part.data) if part.size else b""


def apply(delta: memoryview, base: Bytes, out: Bytes, base_checksum: int) -> None:
    """Writes to `out` what the delta makes of `base`; verify its checksum before it is used.

    Args:
        base: uint8 [n], whose xxh3 is `base_checksum`; `out`: as many, another buffer.

    Raises:
        WrongBaseError: the delta is for another base.
        DamagedDeltaError: it is truncated, damaged or of a newer format; `out` is undefined.
    """
    size = _checked_itemsize(delta, base.size, base_checksum)
    np.copyto(out, base)
    at, step = HEADER.size, CHUNK * size
    for start in range(0, base.size, step):
        at = _apply_frame(delta, at, out[start : start + step], size)
    if at != len(delta):
        raise DamagedDeltaError(f"The delta has {len(delta) - at} bytes too many.")


def _checked_itemsize(delta: memoryview, nbytes: int, base_checksum: int) -> int:
    if len(delta) < HEADER.size or bytes(delta[:4]) != MAGIC:
        raise DamagedDeltaError(f"These {len(delta)} bytes are no delta, or its end is missing.")
    _, found, size, elements, wanted, body = HEADER.unpack_from(delta)
    if found != FORMAT:
        raise DamagedDeltaError(
            f"The delta has the format {found}, this release reads {FORMAT}: run the same release "
            "of sea-operator in trainer and engines."
        )
    # Before anything is read of it: what was damaged on its way is never decoded.
    if xxhash.xxh3_64_intdigest(delta[HEADER.size :]) != body:
        raise DamagedDeltaError("The delta's bytes don't match their checksum.")
    if wanted != base_checksum or elements * size != nbytes or size not in _UNSIGNED:
        raise WrongBaseError(
            f"The delta is for {elements * size} bytes with the checksum {wanted:016x}; held are "
            f"{nbytes} with {base_checksum:016x}."
        )
    return int(size)


def _apply_frame(delta: memoryview, at: int, out: Bytes, size: int) -> int:
    """Returns where the frame ends."""
    if at + FRAME.size > len(delta):
        raise DamagedDeltaError("A frame of the delta is missing.")
    gaps_size, values_size, wide_size = FRAME.unpack_from(delta, at)
    at += FRAME.size
    if gaps_size == RAW:
        if values_size != out.size or at + values_size > len(delta):
            raise DamagedDeltaError("A frame of the delta has another size than its elements.")
        out[:] = np.frombuffer(delta[at : at + values_size], np.uint8)
        return at + values_size
    elements = out.size // size
    gaps = _unpacked(delta, at, gaps_size, elements + elements // 255 + 1)
    values = _unpacked(delta, at + gaps_size, values_size, elements)
    at += gaps_size + values_size
    planes = _unpacked(delta, at, wide_size, elements * size)
    wide = np.ascontiguousarray(planes.reshape(size, -1).T).view(_UNSIGNED[size]).reshape(-1)
    if not _compiled(_patch)(out.view(_UNSIGNED[size]), gaps, values, wide):
        raise DamagedDeltaError("The delta names elements that the block doesn't have.")
    return at + wide_size


def _unpacked(delta: memoryview, at: int, size: int, most: int) -> Bytes:
    """A part of a frame; `most` bytes when unpacked, so that none can fill the memory."""
    part = delta[at : at + size]
    if not size:
        return np.empty(0, np.uint8)
    try:
        if len(part) != size or not 0 <= zstandard.frame_content_size(part) <= most:
            raise DamagedDeltaError("A part of the delta has an impossible size.")
        return np.frombuffer(_scratch.decompressor.decompress(part), np.uint8)
    except zstandard.ZstdError as error:
        raise DamagedDeltaError(f"A part of the delta can't be unpacked: {error}.") from error
