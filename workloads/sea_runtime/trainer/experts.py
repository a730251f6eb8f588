"""All experts of a rank as one grouped matrix product through torch, without a compiled extension.

Megatron's own grouped experts need TransformerEngine; without it its `SequentialMLP` runs one expert
after another, 32 small products per layer on a rank of the reference run. `GroupedExperts` keeps
that class's parameters, names and checkpoints and replaces its forward pass. It runs on the GPU
(`torch.nn.functional.grouped_mm`: CUTLASS, bf16) as on the CPU (one product per expert, in C++).

Shape suffixes: m tokens, sorted by expert; e experts of this rank; n and k sides of a weight; f width
of an expert.
"""

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from megatron.core.transformer.moe.experts import SequentialMLP
from torch import Tensor, nn
from torch.nn import functional


class GroupedExperts(SequentialMLP):
    """SwiGLU experts; `linear_fc1` [2F, H] is gate above up, `linear_fc2` [H, F]."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.local_experts = _Backwards(self.local_experts)

    def forward(
        self, permuted_local_hidden_states: Tensor, tokens_per_expert: Tensor, permuted_probs: Tensor
    ) -> tuple[Tensor, None]:
        """Each token through the expert that it was sorted to, times its probability.

        Args:
            permuted_local_hidden_states: [M, H], sorted by expert.
            tokens_per_expert: [E].
            permuted_probs: [M].

        Returns:
            [M, H], and no bias.
        """
        hidden_mh = permuted_local_hidden_states
        # int32, as grouped_mm wants it; the dispatcher leaves the counts on the host.
        ends_e = tokens_per_expert.cumsum(0).to(hidden_mh.device, torch.int32, non_blocking=True)
        fc1 = [expert.linear_fc1.weight for expert in self.local_experts]
        fc2 = [expert.linear_fc2.weight for expert in self.local_experts]
        both_m2f = grouped_linear(hidden_mh, ends_e, fc1)
        inner_mf = swiglu(hidden_mh.device.type)(both_m2f, permuted_probs[:, None])
        return grouped_linear(inner_mf, ends_e, fc2), None


class _Backwards(nn.ModuleList):
    """Registers its modules last to first; indices, names and iteration are those of the list.

    Megatron's parameter buffer (`param_and_grad_buffer.py`) lays parameters out in the reverse order
    of their registration, so that the experts' weights come to be first to last in it, evenly
    spaced: `stacked` then is a view.
    """

    def __init__(self, modules: nn.ModuleList) -> None:
        super().__init__()
        for index in reversed(range(len(modules))):
            self.add_module(str(index), modules[index])

    def __iter__(self) -> Iterator[nn.Module]:
        return (self[index] for index in range(len(self)))


def grouped_linear(input_mk: Tensor, ends_e: Tensor, weights: list[nn.Parameter]) -> Tensor:
    """input @ weight.T with the weight of each row's group, [M, N].

    Args:
        ends_e: int32, where each group's rows end, [E].
        weights: one [N, K] per group.
    """
    product: Tensor = _GroupedLinear.apply(input_mk, ends_e, *weights)  # type: ignore[no-untyped-call]
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


def stacked(weights: tuple[Tensor, ...] | list[Tensor]) -> Tensor:
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
