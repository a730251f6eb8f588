"""Regions of tensors: intersections, views of torch, and blocks as engines cut them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sea_runtime.parallel.engine_blocks import EngineCuts, blocks
from sea_runtime.parallel.regions import (
    Region,
    Run,
    UnsupportedRegionError,
    cut,
    runs,
    strided,
)

HF = "model.layers.3."


def test_intersection_and_index() -> None:
    region, other = Region((2, 0), (4, 8)), Region((4, 3), (10, 2))
    both = region.intersection(other)
    assert both == Region((4, 3), (2, 2))
    assert both.within(region) == (slice(2, 4), slice(3, 5))
    assert region.intersection(Region((6, 0), (1, 1))) is None
    assert Region((), ()).contains(Region((), ()))


@given(st.data())
def test_a_slice_of_torch_is_the_region_that_was_cut(data: st.DataObject) -> None:
    """Whatever dimensions of size 1 the view gained or lost."""
    shape = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    start = [data.draw(st.integers(0, size - 1)) for size in shape]
    size = [data.draw(st.integers(1, n - at)) for n, at in zip(shape, start, strict=True)]
    view = torch.empty(shape)
    for dim, (at, length) in enumerate(zip(start, size, strict=True)):
        view = view.narrow(dim, at, length)
    view = view.unsqueeze(data.draw(st.integers(0, len(shape))))
    found = strided(shape, view.storage_offset(), view.shape, view.stride())
    assert found == Region(tuple(start), tuple(size))


@pytest.mark.parametrize(
    "view",
    [
        torch.empty(4, 6).t(),
        torch.empty(4, 6)[::2],
        torch.empty(4, 1).expand(4, 6),
        torch.empty(4, 6).view(-1)[3:9],
    ],
)
def test_what_is_no_rectangle_is_refused(view: torch.Tensor) -> None:
    """Never other elements than the loader takes."""
    with pytest.raises(UnsupportedRegionError, match="no rectangle"):
        strided((4, 6), view.storage_offset(), view.shape, view.stride())


def test_pieces_that_touch_on_both_sides_become_one_run() -> None:
    """Padding below the alignment is read with them, if it is the same on both sides."""
    pieces = [Run(0, 512, 60), Run(64, 576, 64), Run(128, 640, 10), Run(192, 0, 64)]
    assert runs(pieces, 64) == [Run(0, 512, 138), Run(192, 0, 64)]
    assert runs([Run(0, 0, 64), Run(128, 64, 7)], 64) == [Run(0, 0, 64), Run(128, 64, 7)]
    assert runs([Run(0, 0, 64), Run(128, 128, 7)], 64) == [Run(0, 0, 64), Run(128, 128, 7)]


TABLE = [
    ("self_attn.q_proj.weight", (64, 32), EngineCuts(4, kv_heads=2), [(16, 32)] * 4),
    ("self_attn.k_proj.weight", (16, 32), EngineCuts(4, kv_heads=2), [(8, 32)] * 2),
    ("self_attn.o_proj.weight", (32, 64), EngineCuts(4), [(32, 16)] * 4),
    ("mlp.experts.7.down_proj.weight", (32, 24), EngineCuts(2), [(32, 12)] * 2),
    ("mlp.experts.7.down_proj.weight", (32, 24), EngineCuts(2, True), [(32, 24)]),
    ("mlp.gate.weight", (8, 32), EngineCuts(2), [(8, 32)]),
    ("input_layernorm.weight", (32,), EngineCuts(2), [(32,)]),
    ("self_attn.q_proj.weight", (64, 32), EngineCuts(), [(64, 32)]),
]


@pytest.mark.parametrize(("name", "shape", "cuts", "expected"), TABLE)
def test_blocks_are_what_a_worker_takes(
    name: str, shape: tuple[int, ...], cuts: EngineCuts, expected: list[tuple[int, ...]]
) -> None:
    found = blocks(HF + name, shape, cuts)
    assert [one.shape for one in found] == expected
    assert sum(one.elements for one in found) == Region.whole(shape).elements


@pytest.mark.parametrize("expert_parallel", [False, True])
def test_blocks_of_the_reference_engines_are_large(expert_parallel: bool) -> None:
    """Of Qwen3-235B-A22B in bf16: smaller ones cost more than their bytes over a network. Norms,
    0.002 % of the model, are smaller and are joined with their neighbors (`regions.runs`)."""
    shapes = {
        "embed_tokens.weight": (151936, 4096),
        "self_attn.q_proj.weight": (8192, 4096),
        "self_attn.k_proj.weight": (512, 4096),
        "self_attn.o_proj.weight": (4096, 8192),
        "mlp.gate.weight": (128, 4096),
        "mlp.experts.7.gate_proj.weight": (1536, 4096),
        "mlp.experts.7.down_proj.weight": (4096, 1536),
    }
    cuts = EngineCuts(8, expert_parallel, kv_heads=4)
    for name, shape in shapes.items():
        smallest = min(2 * one.elements for one in blocks(HF + name, shape, cuts))
        assert smallest >= 256 << 10, name


def test_vocabulary_is_cut_where_vllm_cuts_the_padded_one() -> None:
    """509 rows, padded to 512: the second worker has three rows of padding."""
    found = blocks("model.embed_tokens.weight", (509, 8), EngineCuts(2))
    assert found == cut((509, 8), 0, [256])
