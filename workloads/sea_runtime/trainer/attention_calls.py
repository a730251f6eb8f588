"""Which calls of torch's kernel a packed row's attention is, on the CPU. Run by `attention_cpu.py`.

A call takes queries and keys of the row, and says how they look to the kernel.

Shape suffixes: t tokens of a row, b sequences of a call, s tokens of each, h heads, g groups of
heads that share a key, d channels of a head.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sea_runtime.trainer.row_spans import Span

BATCHED_TOKENS = 256
"""Longer sequences are calls of their own: they keep the kernel busy."""
PADDED = 1.25
"""Longest over shortest sequence of one call, at most."""


@dataclass(frozen=True)
class Call:
    """One call of the kernel: which rows of the packed tensors it takes."""

    queries: Tensor | slice
    """int64 [b, s]; a slice for a single run of rows."""
    keys: Tensor | slice
    """The same; of another size if the call isn't causal."""
    causal: bool
    real: Tensor | None = None
    """Of [b, s] those that aren't padding; None for a slice."""
    seen: Tensor | None = None
    """Of [b, s, keys] those that a query sees; None: all, or the past of a causal call."""

    @property
    def alone(self) -> bool:
        return self.real is None

    @property
    def begins(self) -> bool:
        """It has its queries first; what other calls find for them is merged."""
        return self.causal or self.seen is not None

    def take(self, values: Tensor, rows: Tensor | slice) -> Tensor:
        """[t, ...] -> [b, s, ...]; a view of a slice."""
        return values[rows] if self.real is not None else values[rows][None]

    def count(self, rows: Tensor | slice) -> int:
        """Rows of each sequence, s."""
        return rows.stop - rows.start if isinstance(rows, slice) else rows.shape[1]

    def add(self, sums: Tensor, rows: Tensor | slice, values: Tensor) -> None:
        """sums [t, ...] += values [b, s, ...], which are 0 on padding."""
        if isinstance(rows, slice):
            sums[rows] += values[0]
        else:
            sums.index_add_(0, rows.flatten(), values.flatten(0, 1))

    def heads(self, values_bshd: Tensor, groups: int) -> Tensor:
        """[b, h, s, d], or [g, h / g, s, d] of a slice: the groups as the batch. A view."""
        if self.alone:
            return values_bshd[0].unflatten(1, (groups, -1)).permute(1, 2, 0, 3)
        return values_bshd.transpose(1, 2)

    def rows(self, values: Tensor) -> Tensor:
        """The inverse of `heads`, [b, s, h, d]."""
        if self.alone:
            return values.permute(2, 0, 1, 3).flatten(1, 2)[None]
        return values.transpose(1, 2)

    def repeated(self, values_bsgd: Tensor, times: int) -> Tensor:
        """Keys for every head, as `heads`; a slice's aren't copied."""
        if self.alone:
            return values_bsgd[0].transpose(0, 1)[:, None].expand(-1, times, -1, -1)
        return values_bsgd.repeat_interleave(times, dim=2).transpose(1, 2)

    def summed(self, d_keys: Tensor, groups: int) -> Tensor:
        """Gradients of `repeated`, [b, s, g, d]."""
        if self.alone:
            return d_keys.sum(1).transpose(0, 1)[None]
        return d_keys.unflatten(1, (groups, -1)).sum(2).transpose(1, 2)

    def mask(self, query: Tensor) -> Tensor | None:
        """What is added to the scores of `query`, as `heads` gives it; None: nothing."""
        return None


@dataclass(frozen=True)
class StackedCall(Call):
    """A call in which the heads of a group lie end to end as queries of one head: the kernel gets
    more of them at a time, and no key twice.
    """

    def heads(self, values_bshd: Tensor, groups: int) -> Tensor:
        """[b, g, h / g * s, d]."""
        return values_bshd.unflatten(2, (groups, -1)).permute(0, 2, 3, 1, 4).flatten(2, 3)

    def rows(self, values: Tensor) -> Tensor:
        size = self.count(self.queries)
        return values.unflatten(2, (-1, size)).permute(0, 3, 1, 2, 4).flatten(2, 3)

    def repeated(self, values_bsgd: Tensor, times: int) -> Tensor:
        return values_bsgd.transpose(1, 2)

    def summed(self, d_keys: Tensor, groups: int) -> Tensor:
        return d_keys.transpose(1, 2)

    def mask(self, query: Tensor) -> Tensor | None:
        """[b, 1, h / g * s, keys], what is added to the scores of `query`, as `heads` gives it."""
        if self.seen is None:
            return None
        size = self.count(self.queries)
        hidden = query.new_zeros(self.seen.shape).masked_fill_(~self.seen, -torch.inf)
        return hidden.repeat(1, query.shape[2] // size, 1)[:, None]


def row_calls(spans: Sequence[Span]) -> Iterator[Call]:
    """First those of the sequences' own tokens, which have each query once, then shared ones."""
    yield from _own_calls(spans)
    yield from shared_calls(spans)


def _own_calls(spans: Sequence[Span]) -> Iterator[Call]:
    batch: list[Span] = []
    for span in sorted(spans, key=lambda one: one.size):
        if span.size > BATCHED_TOKENS:
            yield Call(_slice(span.start, span.size), _slice(span.own, span.size), causal=True)
            continue
        if batch and span.size > PADDED * batch[0].size:
            yield _batched(batch)
            batch = []
        batch.append(span)
    if batch:
        yield _batched(batch)


def _batched(spans: Sequence[Span]) -> Call:
    sizes = torch.tensor([[span.size] for span in spans])
    count = torch.arange(max(span.size for span in spans))
    # Padding is the last token again: its scores are in the range that its log-sum was made for.
    inner = torch.minimum(count, sizes - 1)
    queries = torch.tensor([[span.start] for span in spans]) + inner
    keys = torch.tensor([[span.own] for span in spans]) + inner
    return Call(queries, keys, causal=True, real=count < sizes)


def shared_calls(spans: Sequence[Span]) -> Iterator[Call]:
    """One per run of neighbors that share the same keys."""
    for (head, shared), found in itertools.groupby(spans, key=lambda one: (one.head, one.shared)):
        if shared:
            users = list(found)
            size = users[-1].end - users[0].start
            yield StackedCall(_slice(users[0].start, size), _slice(head, shared), causal=False)


def _slice(start: int, size: int) -> slice:
    return slice(start, start + size)
