"""The weighted sum adds up over any cut of a tensor and notices every change."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sea_runtime.parallel.engine_blocks import EngineCuts, blocks
from sea_runtime.parallel.regions import Region, cut
from sea_runtime.transport import manifest, weight_sums
from sea_runtime.transport.weight_sums import MODULUS, total, weighted_sum

DTYPES = [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.float64]


def by_definition(tensor: torch.Tensor) -> int:
    """Words of the padded bytes, word i times 2 i + 1."""
    data = bytes(tensor.contiguous().view(-1).view(torch.uint8).tolist())
    data += b"\0" * (-len(data) % 8)
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]
    return sum(word * (2 * index + 1) for index, word in enumerate(words)) % MODULUS


def random_bits(shape: list[int], dtype: torch.dtype, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = torch.empty((), dtype=dtype).element_size()
    count = torch.Size(shape).numel() * size
    bits = torch.randint(0, 256, (count,), dtype=torch.uint8, generator=generator)
    return bits.view(dtype).view(shape)


@given(st.data())
def test_it_is_what_it_says_and_adds_up_over_any_cut(data: st.DataObject) -> None:
    """Also of slices that begin in the middle of a word, and of views of a larger tensor."""
    shape = data.draw(st.lists(st.integers(1, 9), min_size=0, max_size=3))
    tensor = random_bits(shape, data.draw(st.sampled_from(DTYPES)), data.draw(st.integers(0, 99)))
    wanted = by_definition(tensor)
    assert weighted_sum(tensor, Region.whole(shape), shape) == wanted
    parts = [Region.whole(shape)]
    if shape:
        dim = data.draw(st.integers(0, len(shape) - 1))
        parts = cut(shape, dim, data.draw(st.lists(st.integers(0, shape[dim]), max_size=3)))
    whole = Region.whole(shape)
    sums = [weighted_sum(tensor[part.within(whole)], part, shape) for part in parts]
    assert total(sums) == wanted


@pytest.mark.parametrize("shape", [[50, 16], [1, 700], [7, 4 * 16 + 4]])
def test_a_large_tensor_is_summed_in_chunks(
    shape: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More words than are summed at a time, in many rows and in one."""
    monkeypatch.setattr(weight_sums, "_CPU_CHUNK", 8)
    tensor = random_bits(shape, torch.bfloat16, 1)
    whole = Region.whole(shape)
    parts = cut(shape, 1, [shape[1] // 2])
    sums = [weighted_sum(tensor[part.within(whole)], part, shape) for part in parts]
    assert total(sums) == by_definition(tensor) == weighted_sum(tensor, whole, shape)


@given(st.integers(0, 63), st.integers(0, 31), st.integers(0, 31))
def test_every_flipped_bit_and_every_swap_is_noticed(bit: int, one: int, other: int) -> None:
    tensor = random_bits([32, 4], torch.bfloat16, 5)
    whole = Region.whole([32, 4])
    before = weighted_sum(tensor, whole, [32, 4])
    flipped = tensor.clone().view(torch.uint8)
    flipped.view(-1)[8 * one + bit // 8] ^= 1 << bit % 8
    assert weighted_sum(flipped.view(torch.bfloat16), whole, [32, 4]) != before
    order = list(range(32))
    order[one], order[other] = order[other], order[one]
    assert (weighted_sum(tensor[order], whole, [32, 4]) == before) == (one == other)


@pytest.mark.parametrize(
    "name", ["model.layers.0.mlp.down_proj.weight", "model.embed_tokens.weight"]
)
def test_published_blocks_add_up_to_the_tensor(name: str) -> None:
    """Of a trainer's blocks, cut for an engine of eight workers."""
    tensor = random_bits([96, 40], torch.bfloat16, 3)
    planned = manifest.plan(
        {name: tensor}, lambda name, shape: blocks(name, shape, EngineCuts(tensor=8))
    )
    packed = manifest.pack(
        planned, [(name, tensor)], manifest.allocate(manifest.total_bytes(planned))
    )
    assert len(packed) >= 2
    assert total(block.weighted_sum for block in packed) == by_definition(tensor)
