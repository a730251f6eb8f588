"""Attention of a packed row on the CPU against the formula, and which kernel a machine gets."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from sea_runtime.trainer import attention_kernels
from sea_runtime.trainer.attention_calls import BATCHED_TOKENS
from sea_runtime.trainer.attention_read_calls import BLOCK_KEYS, _blocks
from sea_runtime.trainer.row_spans import RowSpans, Span

WIDTH = 16
LONG = BATCHED_TOKENS + 40
ROWS = {
    "one token": [Span(0, 1, 0)],
    "one sequence": [Span(0, LONG, 0)],
    # Of one call, of another, and alone.
    "sequences": [Span(0, 7, 0), Span(7, 15, 7), Span(15, 45, 15), Span(45, LONG, 45)],
    "a shared prompt": [Span(0, 50, 0), Span(50, 60, 50, 0, 40), Span(60, 75, 60, 0, 40)],
    "prompts of two lengths": [
        Span(0, 30, 0),
        Span(30, 31, 30, 0, 20),
        Span(31, 40, 31, 0, 25),
        Span(40, 60, 40),
        Span(60, 70, 60, 40, 20),
    ],
    "a long sequence with a prompt": [Span(0, 20, 0), Span(20, 20 + LONG, 20, 0, 20)],
    "chunks of a context rank": [Span(0, 4, 0), Span(4, 8, 12, 0, 12)],
}


def formula(q: Tensor, k: Tensor, v: Tensor, spans: list[Span]) -> Tensor:
    """softmax(q k / sqrt(d)) v over what each token may see, [T, heads, D]."""
    repeats = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(repeats, dim=1) for x in (k, v))
    seen = torch.zeros(len(q), len(k), dtype=torch.bool)
    for span in spans:
        for i in range(span.size):
            seen[span.start + i, span.own : span.own + i + 1] = True
            seen[span.start + i, span.head : span.head + span.shared] = True
    scores = torch.einsum("shd,thd->hst", q, k) / WIDTH**0.5
    return torch.einsum("hst,thd->shd", scores.masked_fill(~seen, -torch.inf).softmax(-1), v)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (4, 2), (6, 1)])
def test_every_token_attends_to_its_own_past(name: str, heads: int, groups: int) -> None:
    spans = ROWS[name]
    queries, keys = spans[-1].end, max(span.own + span.size for span in spans)
    generator = torch.Generator().manual_seed(3)
    shapes = ((queries, heads, WIDTH), (keys, groups, WIDTH), (keys, groups, WIDTH))
    q, k, v = (torch.randn(*shape, generator=generator, requires_grad=True) for shape in shapes)
    given = q, k, v
    row = RowSpans(spans, torch.device("cpu"))
    got, wanted = attention_kernels.packed(q, k, v, row, None), formula(q, k, v, spans)
    assert_same(got, wanted, given)


READ_ROWS = ROWS | {
    # Two blocks each with keys before its first query, and queries that are far apart.
    "long sequences with gaps": [Span(0, 700, 0), Span(700, 1100, 700, 0, 90)],
}
READ: dict[str, Callable[[int], list[int]]] = {
    "one": lambda tokens: [tokens - 1],
    "all": lambda tokens: [*range(tokens)],
    "turns": lambda tokens: [i for i in range(tokens) if i // 5 % 3 == 2 or i == tokens - 1],
    "late and far apart": lambda tokens: [
        i for i in range(tokens) if 150 < i < 170 or i % 400 > 330 or i == tokens - 1
    ],
}
KERNELS: dict[str, Callable[..., Tensor]] = {
    "of the CPU": attention_kernels.packed,
    "of all tokens": partial(attention_kernels._in_whole_row, attention_kernels._whole),
}


@pytest.mark.parametrize("name", READ_ROWS)
@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("kernel", KERNELS)
def test_few_tokens_may_have_queries(name: str, read: str, kernel: str) -> None:
    spans = READ_ROWS[name]
    chosen = READ[read](spans[-1].end)
    keys = max(span.own + span.size for span in spans)
    generator = torch.Generator().manual_seed(3)
    shapes = ((spans[-1].end, 6, WIDTH), (keys, 2, WIDTH), (keys, 2, WIDTH))
    q, k, v = (torch.randn(*shape, generator=generator, requires_grad=True) for shape in shapes)
    row = RowSpans(spans, torch.device("cpu"), chosen)
    got = KERNELS[kernel](q[chosen], k, v, row, None)
    assert_same(got, formula(q, k, v, spans)[chosen], (q, k, v))


def assert_same(got: Tensor, wanted: Tensor, given: tuple[Tensor, ...]) -> None:
    """The same values, and gradients of what they were given."""
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)
    scale = torch.linspace(-1, 1, wanted.numel()).view_as(wanted)
    ours = torch.autograd.grad((scale * got).sum(), given)
    theirs = torch.autograd.grad((scale * wanted).sum(), given)
    for one, other in zip(ours, theirs, strict=True):
        assert float((one - other).abs().max()) < 1e-5 * max(1.0, float(other.abs().max()))


def test_few_queries_in_half_precision_are_those_of_full_precision() -> None:
    spans, read = READ_ROWS["long sequences with gaps"], READ["turns"](1100)
    generator = torch.Generator().manual_seed(3)
    given = [torch.randn(1100, heads, WIDTH, generator=generator) for heads in (6, 2, 2)]
    row = RowSpans(spans, torch.device("cpu"), read)

    def attend(dtype: torch.dtype) -> Tensor:
        q, k, v = (one.to(dtype) for one in given)
        return attention_kernels.packed(q[read], k, v, row, None).float()

    difference = (attend(torch.bfloat16) - attend(torch.float32)).abs().max()
    assert float(difference) < 0.03


def test_blocks_have_queries_that_are_near_each_other() -> None:
    """As many as the kernel wants, and no mask wider than a block."""
    read = [*range(300), 2000, *range(2400, 2410)]
    found = list(_blocks(Span(0, 2410, 0), read))
    assert [(one.first, len(one.seen), one.keys) for one in found] == [
        (0, 128, 128),
        (128, 128, 256),
        (256, 44, 300),
        (300, 11, 2410),
    ]
    assert all(one.seen[-1] - one.seen[0] <= BLOCK_KEYS for one in found)


def test_large_scores_in_short_sequences_leave_no_nan() -> None:
    """What pads a call must not overflow in the backward pass."""
    q = torch.linspace(-300, 300, 12 * WIDTH).view(12, 1, WIDTH).requires_grad_()
    row = RowSpans([Span(0, 5, 0), Span(5, 6, 5), Span(6, 12, 6)], torch.device("cpu"))
    attention_kernels.packed(q, q, q, row, 1.0).sum().backward()
    assert q.grad is not None
    assert q.grad.isfinite().all()


@pytest.mark.parametrize("name", ROWS)
def test_keys_for_a_kernel_with_bounds_are_those_of_each_span(name: str) -> None:
    """What a GPU's kernel gets: per span, its shared keys and then its own."""
    row = RowSpans(ROWS[name], torch.device("cpu"))
    keys = torch.arange(1000)
    if row.key_index is not None:
        keys = keys[row.key_index]
    queries = row.query_bounds.tolist()
    for number, span in enumerate(row.spans):
        a, b = row.key_bounds[number : number + 2].tolist()
        own = range(span.own, span.own + span.size)
        assert keys[a:b].tolist() == [*range(span.head, span.head + span.shared), *own]
        assert queries[number : number + 2] == [span.start, span.end]
        assert b - a <= row.longest_key
        assert span.size <= row.longest_query


@pytest.mark.parametrize(
    ("device", "dtype", "wanted"),
    [
        ("cuda", torch.bfloat16, True),
        ("cuda", torch.float32, False),
        ("cpu", torch.bfloat16, False),
        ("cpu", torch.float32, False),
    ],
)
def test_flash_kernels_are_for_half_precision_on_a_gpu(
    device: str, dtype: torch.dtype, wanted: bool
) -> None:
    assert attention_kernels.has_varlen(device, dtype) is wanted
