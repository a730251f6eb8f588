"""Attention of a packed row on the CPU, through torch's flash kernel for CPUs.

Called by `attention_kernels.py`. torch's public function (`scaled_dot_product_attention`, 2.13)
takes one sequence per call without a [S, S] mask, repeats the keys for grouped queries, and doesn't
give the log of the softmax's sum. The operator under it does, so that

- short sequences of similar length are one call, each padded by copies of its last token, which no
  token before attends to (`attention_calls.py`);
- queries of few tokens attend to the keys of all (`attention_read_calls.py`);
- what several sequences share is one call for all of them, merged with their own part: with l the
  log-sums, out = sum of exp(l_i - l) out_i and l = log(sum of exp(l_i)), and the kernel's backward
  pass with the merged `out` and `l` gives each part's exact gradients. As in Ring Attention,
  https://arxiv.org/abs/2310.01889.

Shape suffixes: t tokens of a row, k its keys, b sequences of a call, s tokens of each, h heads,
g groups of heads that share a key, d channels of a head.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from sea_runtime.trainer.attention_calls import Call, row_calls, shared_calls
from sea_runtime.trainer.attention_read_calls import compact, read_calls
from sea_runtime.trainer.row_spans import RowSpans

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


def packed(query: Tensor, key: Tensor, value: Tensor, row: RowSpans, scale: float | None) -> Tensor:
    """As `attention_kernels.packed`."""
    out: Tensor = _Attention.apply(query, key, value, _calls(row), scale)
    return out


@lru_cache(maxsize=8)  # the layers of a few rows
def _calls(row: RowSpans) -> tuple[Call, ...]:
    if row.read is None:
        return tuple(row_calls(row.spans))
    shared = shared_calls(compact(row.spans, row.read))
    return (*read_calls(row.spans, row.read), *shared)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        calls: Sequence[Call],
        scale: float | None,
    ) -> Tensor:
        out = torch.empty_like(query, memory_format=torch.contiguous_format)
        log_sum_th1 = query.new_empty((*query.shape[:2], 1), dtype=torch.float32)
        for call in calls:
            q, k, v = _operands(call, query, key, value)
            part, log_sum = _forward(q, k, v, 0.0, call.causal, attn_mask=call.mask(q), scale=scale)
            part, log_sum = call.rows(part), call.rows(log_sum[..., None])
            if call.begins:
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
            found = _backward(
                d,
                *operands,
                merged,
                log_sum,
                0.0,
                call.causal,
                attn_mask=call.mask(operands[0]),
                scale=ctx.scale,
            )
            call.add(d_query, call.queries, call.rows(found[0]))
            call.add(d_key, call.keys, call.summed(found[1], groups))
            call.add(d_value, call.keys, call.summed(found[2], groups))
        return d_query, d_key, d_value, None, None


def _operands(call: Call, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
    """Query, key and value as the kernel wants them."""
    groups = key.shape[1]
    times = query.shape[1] // groups
    q = call.heads(call.take(query, call.queries), groups)
    return q, *(call.repeated(call.take(x, call.keys), times) for x in (key, value))


def _store(call: Call, values_bshd: Tensor, into: Tensor) -> None:
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
