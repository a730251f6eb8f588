"""Attention of a packed row on the CPU, through torch's flash kernel for CPUs.

Called by `attention_kernels.py`. torch's public function (`scaled_dot_product_attention`, 2.13)
takes one sequence per call without a [S, S] mask, repeats the keys for grouped queries, and doesn't
give the log of the softmax's sum. The operator under it does, so that

- short sequences of similar length are one call, each padded by copies of its last token, which no
  token before attends to;
- what several sequences share is one call for all of them, merged with their own part: with l the
  log-sums, out = sum of exp(l_i - l) out_i and l = log(sum of exp(l_i)), and the kernel's backward
  pass with the merged `out` and `l` gives each part's exact gradients. As in Ring Attention,
  https://arxiv.org/abs/2310.01889.

Shape suffixes: t tokens of a row, k its keys, b sequences of a call, s tokens of each, h heads,
g groups of heads that share a key, d channels of a head.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from sea_runtime.trainer.row_spans import RowSpans, Span

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default

BATCHED_TOKENS = 256
"""Longer sequences are calls of their own: they keep the kernel busy."""
PADDED = 1.25
"""Longest over shortest sequence of one call, at most."""


def packed(query: Tensor, key: Tensor, value: Tensor, row: RowSpans, scale: float | None) -> Tensor:
    """As `attention_kernels.packed`."""
    out: Tensor = _Attention.apply(query, key, value, _calls(row), scale)
    return out


@dataclass(frozen=True)
class _Call:
    """One call of the kernel: which rows of the packed tensors it takes."""

    queries: Tensor | slice
    """int64 [b, s]; a slice for a single run of rows."""
    keys: Tensor | slice
    """The same; of another size if the call isn't causal."""
    causal: bool
    real: Tensor | None = None
    """Of [b, s] those that aren't padding; None for a slice."""

    @property
    def alone(self) -> bool:
        return self.real is None

    def take(self, values: Tensor, rows: Tensor | slice) -> Tensor:
        """[t, ...] -> [b, s, ...]; a view of a slice."""
        return values[rows] if self.real is not None else values[rows][None]

    def add(self, sums: Tensor, rows: Tensor | slice, values: Tensor) -> None:
        """sums [t, ...] += values [b, s, ...], without padding."""
        if self.real is None:
            sums[rows] += values[0]
        else:
            assert isinstance(rows, Tensor)
            sums.index_add_(0, rows[self.real], values[self.real])

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


@lru_cache(maxsize=8)  # the layers of a few rows
def _calls(row: RowSpans) -> tuple[_Call, ...]:
    """First those of the sequences' own tokens, which have each query once, then shared ones."""
    return (*_own_calls(row.spans), *_shared_calls(row.spans))


def _own_calls(spans: Sequence[Span]) -> Iterator[_Call]:
    batch: list[Span] = []
    for span in sorted(spans, key=lambda one: one.size):
        if span.size > BATCHED_TOKENS:
            yield _Call(_slice(span.start, span.size), _slice(span.own, span.size), causal=True)
            continue
        if batch and span.size > PADDED * batch[0].size:
            yield _batched(batch)
            batch = []
        batch.append(span)
    if batch:
        yield _batched(batch)


def _batched(spans: Sequence[Span]) -> _Call:
    sizes = torch.tensor([[span.size] for span in spans])
    count = torch.arange(max(span.size for span in spans))
    # Padding is the last token again: its scores are in the range that its log-sum was made for.
    inner = torch.minimum(count, sizes - 1)
    queries = torch.tensor([[span.start] for span in spans]) + inner
    keys = torch.tensor([[span.own] for span in spans]) + inner
    return _Call(queries, keys, causal=True, real=count < sizes)


def _shared_calls(spans: Sequence[Span]) -> Iterator[_Call]:
    """One per run of neighbors that share the same keys."""
    for (head, shared), found in itertools.groupby(spans, key=lambda one: (one.head, one.shared)):
        if shared:
            users = list(found)
            size = users[-1].end - users[0].start
            yield _Call(_slice(users[0].start, size), _slice(head, shared), causal=False)


def _slice(start: int, size: int) -> slice:
    return slice(start, start + size)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        calls: Sequence[_Call],
        scale: float | None,
    ) -> Tensor:
        out = torch.empty_like(query, memory_format=torch.contiguous_format)
        log_sum_th1 = query.new_empty((*query.shape[:2], 1), dtype=torch.float32)
        for call in calls:
            q, k, v = _operands(call, query, key, value)
            part, log_sum = _forward(q, k, v, 0.0, call.causal, scale=scale)
            part, log_sum = call.rows(part), call.rows(log_sum[..., None])
            if call.causal:
                _store(call, part, out)
                _store(call, log_sum, log_sum_th1)
            else:
                _merge(part[0], log_sum[0], out[call.queries], log_sum_th1[call.queries])
        ctx.save_for_backward(query, key, value, out, log_sum_th1)
        ctx.calls, ctx.scale = calls, scale
        return out

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> Any:
        query, key, value, out, log_sum_th1 = ctx.saved_tensors
        d_query, d_key, d_value = (torch.zeros_like(x) for x in (query, key, value))
        groups = key.shape[1]
        for call in ctx.calls:
            operands = _operands(call, query, key, value)
            d_bshd = call.take(d_out, call.queries)
            if call.real is not None:
                d_bshd = d_bshd * call.real[..., None, None]
            d = call.heads(d_bshd, groups)
            merged = call.heads(call.take(out, call.queries), groups)
            log_sum = call.heads(call.take(log_sum_th1, call.queries), groups)[..., 0]
            found = _backward(d, *operands, merged, log_sum, 0.0, call.causal, scale=ctx.scale)
            call.add(d_query, call.queries, call.rows(found[0]))
            call.add(d_key, call.keys, call.summed(found[1], groups))
            call.add(d_value, call.keys, call.summed(found[2], groups))
        return d_query, d_key, d_value, None, None


def _operands(call: _Call, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
    """Query, key and value as the kernel wants them."""
    groups = key.shape[1]
    times = query.shape[1] // groups
    q = call.heads(call.take(query, call.queries), groups)
    return q, *(call.repeated(call.take(x, call.keys), times) for x in (key, value))


def _store(call: _Call, values_bshd: Tensor, into: Tensor) -> None:
    if call.real is None:
        into[call.queries] = values_bshd[0]
    else:
        assert isinstance(call.queries, Tensor)
        into[call.queries[call.real]] = values_bshd[call.real]


def _merge(part: Tensor, log_sum: Tensor, out: Tensor, log_sum_out: Tensor) -> None:
    """Merges attention to more keys into `out` and `log_sum_out`, in place; all [s, h, ...]."""
    total = torch.logaddexp(log_sum_out, log_sum)
    merged = out * (log_sum_out - total).exp() + part * (log_sum - total).exp()
    out.copy_(merged)
    log_sum_out.copy_(total)
