"""Megatron's experts with the forward pass of `grouped_linear.py`.

Megatron's own grouped experts need TransformerEngine; without it its `SequentialMLP` runs one
expert after another, 32 small products per layer on a rank of the reference run. `GroupedExperts`
keeps that class's parameters, names and checkpoints. `model.layer_spec` puts it into every layer.

Shape suffixes: m tokens, sorted by expert; e experts of this rank; h hidden; f width of an expert.
"""

from collections.abc import Iterator
from typing import Any

import torch
from megatron.core.transformer.moe.experts import SequentialMLP
from torch import Tensor, nn

from sea_runtime.trainer.grouped_linear import grouped_linear, swiglu


class GroupedExperts(SequentialMLP):
    """SwiGLU experts; `linear_fc1` [2F, H] is gate above up, `linear_fc2` [H, F]."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        experts: nn.ModuleList = self.local_experts
        self.local_experts: nn.ModuleList = _Backwards(experts)

    def forward(
        self,
        permuted_local_hidden_states: Tensor,
        tokens_per_expert: Tensor,
        permuted_probs: Tensor,
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

    Megatron's parameter buffer (`param_and_grad_buffer.py`) lays parameters out in the reverse
    order of their registration, so that the experts' weights come to be first to last in it, evenly
    spaced: `stacked` then is a view.
    """

    def __init__(self, modules: nn.ModuleList) -> None:
        super().__init__()
        for index in reversed(range(len(modules))):
            self.add_module(str(index), modules[index])

    def __iter__(self) -> Iterator[nn.Module]:
        return (self[index] for index in range(len(self)))
