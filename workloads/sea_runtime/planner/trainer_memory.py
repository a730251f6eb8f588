"""What one training process holds on its GPU (on a CPU: in its memory), item by item. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sea_api.v1alpha1.data import Precision
from sea_api.v1alpha1.trainer_memory import OptimizerMemory, Recomputation
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout
from sea_runtime.planner import activations, parameters

GRADIENT_BYTES = 4
"""Gradients are summed in FP32 whatever the model's dtype (`trainer/model.py`)."""
MAIN_BYTES = 4
"""The optimizer's own FP32 copy of parameters that are bf16."""
RUNTIME_BYTES = 3 * 10**9
"""CUDA context, libraries' workspaces and the buffers of the communicators: assumed."""
FRAGMENTATION = 0.04
"""Share of the rest that the caching allocator holds in unusably small pieces: assumed."""
HEAD_CHUNK_BYTES = {True: 512 << 20, False: 4 << 20}
"""FP32 logits of one chunk, on a GPU and on a CPU (`trainer/head.py`)."""
HEAD_KEPT_BYTES = 64 << 20
"""Exponentials up to this size are kept for the backward pass (`trainer/head.py`)."""
HEAD_CHUNKS = 3
"""Chunks that exist at one time: logits, their gradient, and that in the model's dtype."""
MARGIN = 0.10
"""How far a plan's memory may be off (`make bench-plan` measures it): what is above the capacity by
more can't fit, what is within it is tight, and `Auto` leaves it free."""
PLAIN = OptimizerMemory()


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
    recomputation: Recomputation = Recomputation.NONE
    optimizer: OptimizerMemory = PLAIN
    gpu: bool = True
    """False on a CPU: no CUDA context, no fragmentation of a caching allocator."""

    @property
    def kernels(self) -> activations.Kernels:
        return activations.GPU if self.gpu else activations.CPU


def items(setup: TrainerSetup, stage: int) -> list[Item]:
    """Memory items of each rank of a pipeline stage, at the peak of a step."""
    held = parameters.of_rank(setup.shape, setup.layout, stage)
    found = [
        Item("weights", held.total * setup.element),
        Item("gradients (FP32)", held.total * GRADIENT_BYTES),
    ]
    states = Item("optimizer states", optimizer_bytes(setup, held))
    computing = [
        Item(f"activations (recomputed: {setup.recomputation.value})", _kept(setup, stage)),
        Item("one layer's working set", _working(setup, stage)),
    ]
    if stage == setup.layout.pipeline - 1:
        computing.append(Item("head, a chunk of logits", head_bytes(setup)))
    # Offloaded states are on the GPU while they are updated, when nothing else is computed.
    if not setup.optimizer.offload:
        found += [states, *computing]
    elif states.nbytes > total(computing):
        found.append(replace(states, name="optimizer states, during the update"))
    else:
        found += computing
    if setup.gpu:
        found.append(Item("runtime and communicators", RUNTIME_BYTES))
        found.append(Item("fragmentation", FRAGMENTATION * total(found)))
    return found


def optimizer_bytes(setup: TrainerSetup, held: parameters.Count) -> float:
    """Sharded over the replicas of each parameter (Megatron's distributed optimizer)."""
    # Adam: two moments per parameter, and a main copy where the parameters themselves are not FP32.
    moment = 2 if setup.optimizer.moments is Precision.BF16 else 4
    each = 2 * moment + (MAIN_BYTES if setup.element < MAIN_BYTES else 0)
    layout = setup.layout
    # Replicas of a dense parameter are the data and context ranks, those of an expert the
    # expert-data ranks: each group divides its own states.
    dense = held.dense / (layout.data * layout.context)
    return each * (dense + held.experts / layout.expert_data)


def _kept(setup: TrainerSetup, stage: int) -> float:
    per_token = activations.layer_elements(
        setup.shape,
        setup.layout,
        setup.recomputation,
        element=setup.element,
        kernels=setup.kernels,
    )
    layers = setup.layout.stage_layers[stage]
    # One forward, one backward: the first stage keeps the most microbatches, the last one a single
    # one.
    rows = activations.in_flight(setup.layout, stage, setup.microbatches)
    return per_token * setup.element * setup.row_tokens * layers * rows


def _working(setup: TrainerSetup, stage: int) -> float:
    if not setup.layout.stage_layers[stage]:
        return 0.0
    per_token = activations.working_elements(
        setup.shape,
        setup.layout,
        setup.recomputation,
        element=setup.element,
        kernels=setup.kernels,
    )
    return per_token * setup.element * setup.row_tokens


def head_bytes(setup: TrainerSetup) -> float:
    """Chunks of logits, and the FP32 gradient of the output layer's weight.

    As if every token had a loss: in SFT most of a row's tokens may.
    """
    entries = -(-setup.shape.vocabulary // setup.layout.tensor)
    logits = 4.0 * entries * setup.row_tokens / setup.layout.context
    if logits > HEAD_KEPT_BYTES:
        logits = min(logits, HEAD_CHUNKS * HEAD_CHUNK_BYTES[setup.gpu])
    return logits + 4.0 * entries * setup.shape.hidden


def peak_stage(setup: TrainerSetup) -> int:
    """The pipeline stage that needs most."""
    return max(range(setup.layout.pipeline), key=lambda stage: total(items(setup, stage)))


def peak_bytes(setup: TrainerSetup) -> float:
    """Bytes on the fullest rank, at the peak of a step."""
    return total(items(setup, peak_stage(setup)))


def choose(setup: TrainerSetup, capacity: float) -> TrainerSetup:
    """What `Auto` is: the least recomputation that leaves `MARGIN` of a GPU with `capacity` bytes.

    `FULL` if none does. The trainer chooses by it (`trainer/recomputation.py`), and so do plans.
    """
    for recomputation in (Recomputation.NONE, Recomputation.SELECTIVE):
        chosen = replace(setup, recomputation=recomputation)
        if peak_bytes(chosen) <= (1 - MARGIN) * capacity:
            return chosen
    return replace(setup, recomputation=Recomputation.FULL)
