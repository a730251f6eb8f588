"""Calls of torch's kernel where few tokens of a row have queries: the last layer's, on the CPU.

As `attention_calls.py`, which makes the row's calls. The queries of a sequence have gaps between
them, so the kernel's causal mask doesn't fit: they are cut into blocks. A block attends without a
mask to all keys before its first query, and with one to those of its own range.

Shape suffixes as in `attention_calls.py`.
"""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from sea_runtime.trainer.attention_calls import BATCHED_TOKENS, PADDED, Call, StackedCall
from sea_runtime.trainer.row_spans import Span

BLOCK_QUERIES = 128
"""More compute more of what the mask hides, fewer keep the kernel busy with small products."""
BLOCK_KEYS = 512
"""Most keys from a block's first query to its last: one mask's width."""


@dataclass(frozen=True)
class _Block:
    """Queries `first` to `first + len(seen)` of the read ones; each sees the first `seen` keys of
    those that begin at `own`.
    """

    first: int
    own: int
    seen: tuple[int, ...]

    @property
    def keys(self) -> int:
        return self.seen[-1]


def read_calls(spans: Sequence[Span], read: Sequence[int]) -> Iterator[Call]:
    """First those that have each query once, then those to merge. `read` are positions, sorted."""
    blocks = [block for span in spans for block in _blocks(span, read)]
    long = [block for block in blocks if block.keys > BATCHED_TOKENS]
    short = sorted((b for b in blocks if b.keys <= BATCHED_TOKENS), key=lambda one: one.keys)
    while short:
        count = bisect.bisect(short, PADDED * short[0].keys, key=lambda one: one.keys)
        yield _batched(short[:count])
        short = short[count:]
    for block in long:
        yield _tail(block)
    for block in long:
        if block.seen[0] > 1:
            keys = slice(block.own, block.own + block.seen[0] - 1)
            yield StackedCall(_queries(block), keys, causal=False)


def compact(spans: Sequence[Span], read: Sequence[int]) -> list[Span]:
    """The spans, by number of the read positions: for keys that all queries of a span see."""
    found = []
    for span in spans:
        start, end = bisect.bisect_left(read, span.start), bisect.bisect_left(read, span.end)
        if end > start:
            found.append(Span(start, end, span.own, span.head, span.shared))
    return found


def _blocks(span: Span, read: Sequence[int]) -> Iterator[_Block]:
    first, end = bisect.bisect_left(read, span.start), bisect.bisect_left(read, span.end)
    while first < end:
        near = bisect.bisect_left(read, read[first] + BLOCK_KEYS)
        last = min(end, near, first + BLOCK_QUERIES)
        seen = tuple(position - span.start + 1 for position in read[first:last])
        yield _Block(first, span.own, seen)
        first = last


def _batched(blocks: Sequence[_Block]) -> Call:
    """Blocks with few keys as one call, without a part that isn't masked."""
    sizes = torch.tensor([[len(block.seen)] for block in blocks])
    count = torch.arange(int(sizes.max()))
    # Padding is the last query again: its scores are in the range that its log-sum was made for.
    inner = torch.minimum(count, sizes - 1)
    queries = torch.tensor([[block.first] for block in blocks]) + inner
    known = [torch.tensor(block.seen) for block in blocks]
    seen = torch.nn.utils.rnn.pad_sequence(known, batch_first=True).gather(1, inner)
    number = torch.arange(max(block.keys for block in blocks))
    most = torch.tensor([[block.keys - 1] for block in blocks])
    keys = torch.tensor([[block.own] for block in blocks]) + torch.minimum(number, most)
    return StackedCall(
        queries,
        keys,
        causal=False,
        real=count < sizes,
        seen=number < seen[..., None],
    )


def _tail(block: _Block) -> Call:
    """The block's queries with the keys from its first one on, of which each sees at least one."""
    before = block.seen[0] - 1
    seen = torch.arange(before, block.keys) < torch.tensor(block.seen)[:, None]
    keys = slice(block.own + before, block.own + block.keys)
    return StackedCall(_queries(block), keys, causal=False, seen=seen[None])


def _queries(block: _Block) -> slice:
    return slice(block.first, block.first + len(block.seen))
