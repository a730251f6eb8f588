"""Experts as one grouped matrix product through torch, without a compiled extension.

`torch.nn.functional.grouped_mm` runs on the GPU (CUTLASS, bf16) as on the CPU (one product per
expert, in C++). Used by `experts.py`; needs torch only.

Shape suffixes: m tokens, sorted by expert; e experts of this rank; n and k sides of a weight; f
width of an expert.
"""

import shutil
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def grouped_linear(input_mk: Tensor, ends_e: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """input @ weight.T with the weight of each row's group, [M, N].

    Args:
        ends_e: int32, where each group's rows end, [E].
        weights: one [N, K] per group.
    """
    product: Tensor = _GroupedLinear.apply(input_mk, ends_e, *weights)
    return product


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input_mk: Tensor, ends_e: Tensor, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(input_mk, ends_e, *weights)
        weight_enk = stacked(weights)
        return functional.grouped_mm(input_mk, weight_enk.transpose(1, 2), offs=ends_e)

    @staticmethod
    def backward(ctx: Any, d_output_mn: Tensor) -> Any:
        input_mk, ends_e, *weights = ctx.saved_tensors
        d_output_mn = d_output_mn.contiguous()
        d_input_mk = functional.grouped_mm(d_output_mn, stacked(weights), offs=ends_e)
        # Both operands are cut at `ends_e` along M: one [N, K] per group, zeros for an empty one.
        d_weight_enk = functional.grouped_mm(d_output_mn.T, input_mk, offs=ends_e)
        return d_input_mk, None, *d_weight_enk.unbind(0)


def stacked(weights: Sequence[Tensor]) -> Tensor:
    """[E, N, K] of E weights: a view if they are evenly spaced in one storage, otherwise a copy."""
    first = weights[0]
    offsets = [weight.storage_offset() for weight in weights]
    step = offsets[1] - offsets[0] if len(weights) > 1 else first.numel()
    base = first.untyped_storage().data_ptr()
    even = all(
        weight.untyped_storage().data_ptr() == base and offset == offsets[0] + number * step
        for number, (weight, offset) in enumerate(zip(weights, offsets, strict=True))
    )
    # A step below a weight's size is none: last to first, or not in one buffer.
    if even and step >= first.numel():
        return first.as_strided((len(weights), *first.shape), (step, *first.stride()))
    return torch.stack(list(weights))


def _swiglu(both_m2f: Tensor, scale_m1: Tensor) -> Tensor:
    """silu(gate) * up * scale, [M, F], of [M, 2F] with gate left of up."""
    gate_mf, up_mf = both_m2f.chunk(2, dim=-1)
    return (functional.silu(gate_mf) * up_mf * scale_m1).to(both_m2f.dtype)


@cache
def swiglu(device: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The activation: on a GPU one kernel if torch can compile it, otherwise torch's operations.

    torch's compiler links each kernel's launcher with a C compiler, which an image may not have.
    """
    if device == "cuda" and (shutil.which("cc") or shutil.which("gcc")):
        # Dynamic: the number of tokens differs in every call.
        compiled: Callable[[Tensor, Tensor], Tensor] = torch.compile(_swiglu, dynamic=True)
        return compiled
    return _swiglu
