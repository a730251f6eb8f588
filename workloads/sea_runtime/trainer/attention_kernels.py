"""Causal grouped-query attention through torch alone: flash kernels on the GPU, SDPA elsewhere.

Called by `attention.py`. On a CUDA device in half precision all sequences of a packed row go
through one variable-length kernel (`torch.nn.attention.varlen`, part of torch: nothing to compile).
On a CPU, and in FP32, each sequence is one call of `scaled_dot_product_attention`.

Shapes: T tokens of a row, S tokens of one sequence, D channels of a head.
"""

import inspect
import itertools
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def packed(query: Tensor, key: Tensor, value: Tensor, bounds: Any, scale: float | None) -> Tensor:
    """Attention within each sequence of a row, [T, heads, D].

    Args:
        query: [T, heads, D]; `key` and `value` are [T, groups, D].
        bounds: Megatron's PackedSeqParams: where the sequences begin, then T; the longest one.
        scale: of the scores; None is 1 / sqrt(D).
    """
    if has_varlen(query.device.type, query.dtype):
        return _varlen(query, key, value, bounds, scale)
    # On a GPU this waits for the device.
    starts = bounds.cu_seqlens_q.tolist()
    lengths = [b - a for a, b in itertools.pairwise(starts)]
    parts = zip(query.split(lengths), key.split(lengths), value.split(lengths), strict=True)
    # One call per sequence: sequences must not see each other, and a mask would be [T, T].
    return torch.cat([one_sequence(q, k, v, scale) for q, k, v in parts])


def has_varlen(device: str, dtype: torch.dtype) -> bool:
    """torch's flash kernels are for half precision on CUDA devices."""
    return device == "cuda" and dtype in (torch.bfloat16, torch.float16)


def _varlen(query: Tensor, key: Tensor, value: Tensor, bounds: Any, scale: float | None) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    options: dict[str, Any] = {"scale": scale, "window_size": (-1, 0)}  # causal
    if _varlen_has_gqa():
        options["enable_gqa"] = True
    else:  # torch 2.11
        repeats = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    # Queries and keys share the bounds: every token is both. They stay on the device.
    starts, longest = bounds.cu_seqlens_q, bounds.max_seqlen_q
    out: Tensor = varlen_attn(query, key, value, starts, starts, longest, longest, **options)
    return out


@cache
def _varlen_has_gqa() -> bool:
    from torch.nn.attention.varlen import varlen_attn

    return "enable_gqa" in inspect.signature(varlen_attn).parameters


def one_sequence(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    """Causal attention of one sequence: query [S, heads, D], key and value [S, groups, D]."""
    # [1, heads, S, D]. With `enable_gqa` keys aren't repeated, and on a CPU torch (2.13) still
    # takes its flash kernel, whose memory is linear in S.
    q, k, v = (x.transpose(0, 1)[None] for x in (query, key, value))
    out = functional.scaled_dot_product_attention(
        q, k, v, is_causal=True, scale=scale, enable_gqa=True
    )
    return out[0].transpose(0, 1)
