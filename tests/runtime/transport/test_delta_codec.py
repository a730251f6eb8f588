"""A delta restores every bit, and is refused for anything that it isn't for."""

import struct

import numpy as np
import pytest
import torch
import xxhash
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sea_runtime.transport import delta_codec
from sea_runtime.transport.delta_codec import (
    FRAME,
    HEADER,
    Bytes,
    DamagedDeltaError,
    WrongBaseError,
    apply,
    encode,
)

SPECIAL = {
    2: [0x0000, 0x8000, 0x7F80, 0xFF80, 0x7FC1, 0xFFFF, 0x0001, 0x3F80],
    4: [0, 1 << 31, 0x7F800000, 0xFF800000, 0x7FC00001, 0xFFFFFFFF, 1, 0x3F800000],
    1: [0, 0x80, 0x7F, 0xFF, 1, 0x81, 0x38, 0xB8],
    8: [0, 1 << 63, 0x7FF0 << 48, 0x7FF8000000000001, (1 << 64) - 1, 1, 2, 3],
}
"""0, -0, both infinities, NaNs with a payload, the largest bits, a denormal, 1, by element size."""


def checksum(data: Bytes) -> int:
    return xxhash.xxh3_64_intdigest(data.data)


def restored(delta: bytes, base: Bytes) -> Bytes:
    out = np.full_like(base, 0xAB)
    before = base.copy()
    apply(memoryview(delta), base, out, checksum(base))
    assert np.array_equal(base, before), "never in place"
    return out


@st.composite
def versions(draw: st.DrawFn) -> tuple[Bytes, Bytes, int]:
    """Two versions of a block: any bits, of which none, some or all change."""
    size = draw(st.sampled_from([1, 2, 4, 8]))
    count = draw(st.integers(0, 700))
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    base = generator.integers(0, 256, count * size, dtype=np.uint8)
    new = base.copy()
    share = draw(st.sampled_from([0.0, 0.01, 0.1, 1.0]))
    where = np.flatnonzero(generator.random(count) < share)
    if draw(st.booleans()):
        steps = generator.integers(-3, 4, where.size)
        new.view(f"u{size}")[where] += steps.astype(np.int64).astype(f"u{size}")
    else:
        new.view(f"u{size}")[where] = generator.choice(
            np.array(SPECIAL[size], dtype=f"u{size}"), where.size
        )
    return base, new, size


@given(versions())
def test_every_bit_comes_back(case: tuple[Bytes, Bytes, int]) -> None:
    base, new, size = case
    delta = encode(base, new, size, checksum(base))
    assert np.array_equal(restored(delta, base), new)
    assert len(delta) <= new.size + HEADER.size + FRAME.size


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_every_special_value_becomes_every_other(size: int) -> None:
    """NaN payloads and -0 are bits like any others."""
    kinds = np.array(SPECIAL[size], dtype=f"u{size}")
    base = np.repeat(kinds, len(kinds)).view(np.uint8)
    new = np.tile(kinds, len(kinds)).view(np.uint8)
    assert np.array_equal(restored(encode(base, new, size, checksum(base)), base), new)


def test_more_than_one_chunk_and_far_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first and last element of chunks, gaps of 254, 255, 256 and of a whole chunk."""
    monkeypatch.setattr(delta_codec, "CHUNK", 1024)
    base = np.arange(5 * 1024 + 3, dtype=np.uint16).view(np.uint8)
    new = base.copy()
    for at in (0, 255, 511, 768, 1023, 1024, 3 * 1024 - 1, 4 * 1024 + 5, 5 * 1024 + 2):
        new.view(np.uint16)[at] ^= 0x4001
    delta = encode(base, new, 2, checksum(base))
    assert np.array_equal(restored(delta, base), new)
    assert len(delta) < 500


def step_of_training(density: float, count: int = 1 << 17) -> tuple[Bytes, Bytes]:
    """bf16 weights before and after a small step that changes about this share of them."""
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(count, generator=generator) * 0.02
    step = torch.randn(count, generator=generator) * {0.04: 1.35e-6, 0.25: 1.0e-5}[density]
    old, new = weights.bfloat16(), (weights + step).bfloat16()
    share = (old != new).float().mean().item()
    assert 0.6 * density < share < 1.6 * density, share
    return old.view(torch.uint8).numpy(), new.view(torch.uint8).numpy()


@pytest.mark.parametrize(("density", "most"), [(0.04, 0.50), (0.25, 0.55)])
def test_it_is_half_of_what_xor_needs(density: float, most: float) -> None:
    """Of XOR of all bytes and zstd-1."""
    old, new = step_of_training(density)
    dense = zstandard.ZstdCompressor(level=1).compress((old ^ new).tobytes())
    assert len(encode(old, new, 2, checksum(old))) <= most * len(dense)


def test_it_is_refused_for_another_base() -> None:
    """Other bytes, and another size."""
    old, new = step_of_training(0.04, 4096)
    delta = memoryview(encode(old, new, 2, checksum(old)))
    for base in (new, old[:4096]):
        with pytest.raises(WrongBaseError, match="held are"):
            apply(delta, base, np.empty_like(base), checksum(base))


@given(st.data())
def test_any_damage_is_noticed(data: st.DataObject) -> None:
    """Cut anywhere, longer than it was, or with any byte changed."""
    delta = bytearray(_DELTA)
    kind = data.draw(st.sampled_from(["cut", "longer", "changed"]))
    at = data.draw(st.integers(0, len(delta) - 1))
    if kind == "cut":
        del delta[at:]
    elif kind == "longer":
        delta += b"\0"
    else:
        delta[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises((DamagedDeltaError, WrongBaseError)):
        apply(memoryview(delta), _OLD, np.empty_like(_OLD), checksum(_OLD))


_OLD, _NEW = step_of_training(0.04, 4096)
_DELTA = encode(_OLD, _NEW, 2, checksum(_OLD))


def signed(header_of: bytes, body: bytes) -> memoryview:
    """A delta whose checksum is right whatever its frames say."""
    *fields, _ = HEADER.unpack_from(header_of)
    return memoryview(HEADER.pack(*fields, xxhash.xxh3_64_intdigest(body)) + body)


PACKED = zstandard.ZstdCompressor().compress


@pytest.mark.parametrize(
    "body",
    [
        b"",
        FRAME.pack(1, 0, 0),
        FRAME.pack(0xFFFFFFFF, 3, 0) + b"abc",
        FRAME.pack(5, 0, 0) + b"wrong",
        FRAME.pack(len(PACKED(bytes(10**6))), 0, 0) + PACKED(bytes(10**6)),
        FRAME.pack(len(PACKED(b"\0" * 4000)), 0, 0) + PACKED(b"\0" * 4000),
        FRAME.pack(0, len(PACKED(b"\1")), 0) + PACKED(b"\1"),
    ],
    ids=["nothing", "short", "raw", "no zstd", "huge", "too few values", "too many values"],
)
def test_nonsense_with_a_right_checksum_harms_nothing(body: bytes) -> None:
    """As of a publisher with an error: no write outside of the block, no memory without bound."""
    with pytest.raises(DamagedDeltaError):
        apply(signed(_DELTA, body), _OLD, np.empty_like(_OLD), checksum(_OLD))


def test_a_newer_format_is_refused_by_its_number() -> None:
    delta = bytearray(_DELTA)
    struct.pack_into("<H", delta, 4, delta_codec.FORMAT + 1)
    with pytest.raises(DamagedDeltaError, match="has the format 2"):
        apply(memoryview(delta), _OLD, np.empty_like(_OLD), checksum(_OLD))
