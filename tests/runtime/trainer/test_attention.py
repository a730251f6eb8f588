"""Attention over a packed row: each sequence is isolated and equals the formula."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sea_runtime.trainer import attention_kernels
from sea_runtime.trainer.row_spans import RowSpans, Span

# Megatron takes seconds to import, so it is imported where it runs.
pytestmark = pytest.mark.component

BOUNDS = [0, 5, 6, 13]
HEADS, GROUPS, WIDTH = 4, 2, 8
Row = tuple[Tensor, Tensor, Tensor]


def attention() -> Any:
    from megatron.core.transformer.transformer_config import TransformerConfig

    from sea_runtime.trainer.attention import TorchAttention

    config = TransformerConfig(
        num_layers=1,
        hidden_size=32,
        num_attention_heads=HEADS,
        num_query_groups=GROUPS,
        use_cpu_initialization=True,
    )
    return TorchAttention(config, 1, None, "self")


def attend(qkv: Row, bounds: list[int]) -> Tensor:
    from sea_runtime.trainer.attention import RowParams

    spans = [Span(a, b, a) for a, b in itertools.pairwise(bounds)]
    packed = RowParams(spans=RowSpans(spans, torch.device("cpu")))
    out: Tensor = attention()(*qkv, None, packed_seq_params=packed)
    return out


def row(tokens: int) -> Row:
    """Random query, key and value of one row."""
    generator = torch.Generator().manual_seed(3)
    shapes = ((tokens, HEADS, WIDTH), (tokens, GROUPS, WIDTH), (tokens, GROUPS, WIDTH))
    q, k, v = (torch.randn(*s, generator=generator, requires_grad=True) for s in shapes)
    return q, k, v


def formula(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k / sqrt(d)) v over the tokens so far, head by head."""
    length, outs = len(q), []
    future = torch.triu(torch.ones(length, length, dtype=torch.bool), 1)
    for head in range(HEADS):
        group = head // (HEADS // GROUPS)
        scores = q[:, head] @ k[:, group].T / WIDTH**0.5
        outs.append(scores.masked_fill(future, -torch.inf).softmax(dim=1) @ v[:, group])
    return torch.cat(outs, dim=1)


def test_each_sequence_equals_the_formula() -> None:
    q, k, v = row(13)
    got = attend((q, k, v), BOUNDS)
    assert got.shape == (13, HEADS * WIDTH)
    for a, b in itertools.pairwise(BOUNDS):
        torch.testing.assert_close(got[a:b], formula(q[a:b], k[a:b], v[a:b]))


def test_no_gradient_leaves_a_sequence() -> None:
    tensors = row(13)
    attend(tensors, BOUNDS)[5:6].sum().backward()
    for one in tensors[1:]:
        assert one.grad is not None
        assert not one.grad[:5].any()
        assert not one.grad[6:].any()


def whole(*qkv: Tensor) -> Tensor:
    return attend((qkv[0], qkv[1], qkv[2]), [0, len(qkv[0])])


def largest_allocation(tokens: int, run: Callable[..., Tensor]) -> int:
    """Bytes of the largest allocation of any operation, forward and backward."""
    from torch.profiler import ProfilerActivity, profile

    tensors = row(tokens)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run(*tensors).sum().backward()
    return max(event.self_cpu_memory_usage for event in seen.events())


def test_memory_is_linear_in_the_length() -> None:
    """Three times the tokens must not take nine times the memory."""
    short, long = 1024, 3072
    assert largest_allocation(long, whole) < 5 * largest_allocation(short, whole)
    assert largest_allocation(long, formula) > 5 * largest_allocation(short, formula)


def test_context_ranks_attend_to_what_the_whole_row_does() -> None:
    """Both chunks of a rank to all earlier tokens of their sequence."""
    from sea_runtime.trainer import packed_row
    from sea_runtime.trainer.attention import context_spans

    bounds, ways = [0, 8, 12, 24], 2
    q, k, v = row(24)
    wanted = attend((q, k, v), bounds)
    for rank in range(ways):
        own = torch.from_numpy(packed_row.part(bounds, ways, rank))
        spans = RowSpans(context_spans(bounds, ways, rank), torch.device("cpu"))
        got = attention_kernels.packed(q[own], k, v, spans, None)
        torch.testing.assert_close(got.flatten(1), wanted[own])
