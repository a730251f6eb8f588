"""Activation recomputation: what a choice means for Megatron, and what `Auto` chooses.

Source of the modes: Megatron-core's `TransformerConfig`, and "Reducing Activation Recomputation in
Large Transformer Models", https://arxiv.org/abs/2205.05198.
"""

from typing import Any

from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.planner import trainer_memory
from sea_runtime.planner.trainer_memory import TrainerSetup


def megatron_options(choice: Recomputation, *, moe: bool) -> dict[str, Any]:
    """Fields of Megatron's TransformerConfig; `choice` is resolved, not `Auto`."""
    if choice is Recomputation.FULL:
        # Layer by layer: only the input of each is kept.
        return {
            "recompute_granularity": "full",
            "recompute_method": "uniform",
            "recompute_num_layers": 1,
        }
    if choice is Recomputation.SELECTIVE:
        # Not attention, Megatron's default: with flash kernels it keeps little. Experts keep a copy
        # of each token per chosen expert.
        return {
            "recompute_granularity": "selective",
            "recompute_modules": ["moe" if moe else "mlp"],
        }
    return {}


def resolve(setup: TrainerSetup, capacity: int | None) -> Recomputation:
    """What `setup.recomputation` means where a GPU has `capacity` bytes; None: on a CPU.

    The same on every rank, so `capacity` must be: ranks that recompute differently would enter
    different collectives.
    """
    if setup.recomputation is not Recomputation.AUTO:
        return setup.recomputation
    if capacity is None:
        return Recomputation.NONE
    return trainer_memory.choose(setup, capacity).recomputation
