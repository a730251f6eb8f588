"""Causal grouped-query attention through torch alone: flash kernels on the GPU and on the CPU.

Called by `attention.py`. On a CUDA device in half precision all sequences of a packed row go
through one variable-length kernel (`torch.nn.attention.varlen`, part of torch: nothing to compile).
On a CPU they go through `attention_cpu.py`; elsewhere (FP32 on a GPU) each is a call of its own.
Where few tokens have queries (`last_layer.py`), a CPU computes only those; a GPU computes all, and
theirs are taken from the result: its kernel's causal mask has no gaps.

Shapes: T tokens of a row, K keys of a row, S tokens of one sequence, D channels of a head.
"""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right

from sea_runtime.trainer import attention_cpu
from sea_runtime.trainer.row_spans import RowSpans, Span

Kernel = Callable[[Tensor, Tensor, Tensor, RowSpans, float | None], Tensor]


def packed(query: Tensor, key: Tensor, value: Tensor, row: RowSpans, scale: float | None) -> Tensor:
    """Attention within each sequence of a row, [T, heads, D].

    Args:
        query: [T, heads, D]; `key` and `value` are [K, groups, D]. Of `row.read`, if it is given,
            only these tokens: the result is theirs too.
        scale: of the scores; None is 1 / sqrt(D).
    """
    if query.device.type == "cpu":
        return attention_cpu.packed(query, key, value, row, scale)
    if row.read is None:
        return _whole(query, key, value, row, scale)
    return _in_whole_row(_whole, query, key, value, row, scale)


def _in_whole_row(kernel: Kernel, query: Tensor, *others: Any) -> Tensor:
    """Attention of the row's read queries by a kernel that takes the queries of all tokens: those
    of the others are 0.
    """
    row: RowSpans = others[2]
    whole = query.new_zeros((row.spans[-1].end, *query.shape[1:]))
    return kernel(whole.index_copy(0, row.read_index, query), *others)[row.read_index]


def _whole(query: Tensor, key: Tensor, value: Tensor, row: RowSpans, scale: float | None) -> Tensor:
    """As `packed`, of all tokens of the row."""
    if has_varlen(query.device.type, query.dtype):
        return _varlen(query, key, value, row, scale)
    return torch.cat([_one_span(query, key, value, span, scale) for span in row.spans])


def has_varlen(device: str, dtype: torch.dtype) -> bool:
    """torch's flash kernels are for half precision on CUDA devices."""
    return device == "cuda" and dtype in (torch.bfloat16, torch.float16)


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, row: RowSpans, scale: float | None
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    options: dict[str, Any] = {"scale": scale, "window_size": (-1, 0)}  # causal
    if row.key_index is not None:
        # With more keys than queries the kernel aligns the causal mask to the last ones.
        key, value = (x.index_select(0, row.key_index) for x in (key, value))
    if _varlen_has_gqa():
        options["enable_gqa"] = True
    else:  # torch 2.11
        repeats = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    bounds = row.query_bounds, row.key_bounds, row.longest_query, row.longest_key
    out: Tensor = varlen_attn(query, key, value, *bounds, **options)
    return out


@cache
def _varlen_has_gqa() -> bool:
    from torch.nn.attention.varlen import varlen_attn

    return "enable_gqa" in inspect.signature(varlen_attn).parameters


def _one_span(query: Tensor, key: Tensor, value: Tensor, span: Span, scale: float | None) -> Tensor:
    """Attention of one span's queries, [S, heads, D]."""
    own = slice(span.own, span.own + span.size)
    shared = slice(span.head, span.head + span.shared)
    keys, values = (torch.cat([x[shared], x[own]]) for x in (key, value))
    q, k, v = (x.transpose(0, 1)[None] for x in (query[span.start : span.end], keys, values))
    mask = causal_lower_right(span.size, span.size + span.shared)
    out = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, scale=scale, enable_gqa=True
    )
    return out[0].transpose(0, 1)
