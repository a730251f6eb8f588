"""What one training process holds on its GPU (on a CPU: in its memory), item by item. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout
from sea_runtime.planner import activations, parameters
from sea_runtime.planner.activations import Recompute

GRADIENT_BYTES = 4
"""Gradients are summed in FP32 whatever the model's dtype (`trainer/model.py`)."""
MOMENT_BYTES = 8
MAIN_BYTES = 4
"""The optimizer's own FP32 copy of parameters that are bf16."""
RUNTIME_BYTES = 3 * 10**9
"""CUDA context, libraries' workspaces and the buffers of the communicators: assumed."""
FRAGMENTATION = 0.04
"""Of the rest, that the caching allocator holds in pieces too small to use: assumed."""


@dataclass(frozen=True)
class Item:
    """One line of a memory table."""

    name: str
    nbytes: float


def total(items: Sequence[Item]) -> float:
    return sum(item.nbytes for item in items)


@dataclass(frozen=True)
class TrainerSetup:
    """What decides a training process's memory."""

    shape: ModelShape
    layout: ParallelLayout
    element: int
    """Bytes per parameter: 2 for BF16, 4 for FP32."""
    row_tokens: int
    """Longest row of a microbatch, padded."""
    microbatches: int
    """Per step and data-parallel rank; bounds what a pipeline keeps."""
    recompute: Recompute = Recompute.NONE
    gpu: bool = True
    """False on a CPU: no CUDA context, no fragmentation of a caching allocator."""


def items(setup: TrainerSetup, stage: int) -> list[Item]:
    """Of each rank of a pipeline stage, at the peak of a step."""
    held = parameters.of_rank(setup.shape, setup.layout, stage)
    found = [
        Item("weights", held.total * setup.element),
        Item("gradients (FP32)", held.total * GRADIENT_BYTES),
        Item("optimizer states", optimizer_bytes(setup, held)),
        Item(f"activations ({setup.recompute.value.lower()} recomputed)", _kept(setup, stage)),
        Item("one layer's working set", _working(setup, stage)),
    ]
    if stage == setup.layout.pipeline - 1:
        found.append(Item("logits", logits_bytes(setup)))
    if setup.gpu:
        found.append(Item("runtime and communicators", RUNTIME_BYTES))
        found.append(Item("fragmentation", FRAGMENTATION * total(found)))
    return found


def optimizer_bytes(setup: TrainerSetup, held: parameters.Count) -> float:
    """Sharded over the replicas of each parameter (Megatron's distributed optimizer)."""
    each = MOMENT_BYTES + (MAIN_BYTES if setup.element < MAIN_BYTES else 0)
    layout = setup.layout
    dense = held.dense / (layout.data * layout.context)
    return each * (dense + held.experts / layout.expert_data)


def _kept(setup: TrainerSetup, stage: int) -> float:
    per_token = activations.layer_elements(setup.shape, setup.layout, setup.recompute)
    layers = setup.layout.stage_layers[stage]
    rows = activations.in_flight(setup.layout, stage, setup.microbatches)
    return per_token * setup.element * setup.row_tokens * layers * rows


def _working(setup: TrainerSetup, stage: int) -> float:
    if not setup.layout.stage_layers[stage]:
        return 0.0
    per_token = activations.working_elements(setup.shape, setup.layout)
    if setup.recompute is Recompute.NONE:
        # What the layer keeps is counted above; what is left are its gradients.
        per_token /= 3
    return per_token * setup.element * setup.row_tokens


def logits_bytes(setup: TrainerSetup) -> float:
    """A row's logits, their FP32 copy, log-probabilities and gradient, over `tensor`."""
    rows = -(-setup.shape.vocabulary // setup.layout.tensor)
    per_logit = 2 * setup.element + 3 * 4
    return float(setup.row_tokens / setup.layout.context * rows * per_logit)


def peak_stage(setup: TrainerSetup) -> int:
    """The pipeline stage that needs most."""
    return max(range(setup.layout.pipeline), key=lambda stage: total(items(setup, stage)))


def choose(setup: TrainerSetup, capacity: float) -> TrainerSetup:
    """With the least recomputation that fits into `capacity` bytes; `FULL` if none does."""
    for recompute in (Recompute.NONE, Recompute.SELECTIVE):
        chosen = replace(setup, recompute=recompute)
        if total(items(chosen, peak_stage(chosen))) <= capacity:
            return chosen
    return replace(setup, recompute=Recompute.FULL)
