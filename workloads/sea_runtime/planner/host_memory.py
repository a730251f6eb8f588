"""What the pods hold in the host's memory, item by item. Pure."""

import math

from sea_api.v1alpha1.data import Precision
from sea_api.v1alpha1.policy import Checkpoint
from sea_runtime.parallel import weight_map
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout, Place
from sea_runtime.planner import engine_memory, parameters, trainer_memory, transfers
from sea_runtime.planner.trainer_memory import Item, TrainerSetup

PROCESS_BYTES = int(1.2 * 10**9)
"""A training process or a worker of an engine after its imports: measured 1.1 to 1.25 GB."""
UPLOADED_BYTES = 2.0 * 8 * (16 << 20)
"""Parts of an object that are made and uploaded at a time."""
WORKER_BYTES = 10**9
"""The agent loop next to an engine: assumed."""
BATCH_COPIES = 3
"""Of a batch's bytes in each training process while it decodes them: as they were broadcast, by
trajectory, and by array (`trainer/rl_batch.py`)."""


def pinned_bytes(nbytes: int) -> int:
    """What torch's allocator of pinned memory takes for as many: the next power of two.

    Source: torch 2.13, ATen/core/CachingHostAllocator.h, `allocate`.
    """
    return 1 << (nbytes - 1).bit_length() if nbytes else 0


def published_bytes(shape: ModelShape, layout: ParallelLayout, element: int) -> float:
    """What one rank publishes of a version: a version over the ranks that hold different parts."""
    ranks = layout.tensor * layout.pipeline
    ranks = max(ranks, layout.expert * layout.expert_tensor * layout.pipeline)
    return transfers.weight_bytes(shape, element) / ranks


def state_bytes(shape: ModelShape, layout: ParallelLayout, moments: Precision) -> float:
    """What one rank writes of a checkpoint: its share of the optimizer's states."""
    return transfers.checkpoint_bytes(shape, moments) / layout.world_size


def trainer_pod(setup: TrainerSetup, ranks: int, checkpoint: Checkpoint) -> list[Item]:
    """A pod of `ranks` training processes on GPUs, while it saves a checkpoint."""
    shape, layout, element = setup.shape, setup.layout, setup.element
    state = state_bytes(shape, layout, setup.optimizer.moments)
    # Without a copy as many parts are in memory as are uploaded at a time (`store/multipart.py`).
    copied = state <= checkpoint.max_staging_bytes
    staged = pinned_bytes(math.ceil(state)) if copied else UPLOADED_BYTES
    offloaded = _offloaded(setup) if setup.optimizer.offload else 0.0
    found = [
        Item("processes", ranks * PROCESS_BYTES),
        Item("optimizer states, offloaded", ranks * offloaded),
        Item(
            f"weight versions to read ({transfers.SHARD_BUFFERS})",
            ranks * transfers.SHARD_BUFFERS * published_bytes(shape, layout, element),
        ),
        Item("copy of the state for the upload", ranks * staged),
    ]
    return [item for item in found if item.nbytes]


def replayed(nbytes: float, ranks: int) -> list[Item]:
    """Of router replay, in a pod of `ranks` training processes.

    Args:
        nbytes: experts that a step's trajectories name.
    """
    found = Item("experts to replay, of a batch", ranks * BATCH_COPIES * nbytes)
    return [found] if nbytes else []


def _offloaded(setup: TrainerSetup) -> float:
    """Pinned memory of a rank of the stage that holds most."""
    stages = range(setup.layout.pipeline)
    return max(_pinned_states(setup, stage) for stage in stages)


def _pinned_states(setup: TrainerSetup, stage: int) -> float:
    """One pinned buffer per tensor of the states (`trainer/optimizer_offload.py`).

    A replica has nearly whole parameters, since only those at the ends of its share are cut, so
    its buffers are rounded up as those of whole parameters are, on average.
    """
    held = parameters.of_rank(setup.shape, setup.layout, stage)
    place = Place(setup.layout, stage * setup.layout.stage_ranks)
    sizes = [math.prod(one) for one in weight_map.parameter_shapes(setup.shape, place).values()]
    # Of FP32. Elements of BF16 moments are half as large, and rounded by the same factor.
    rounded = sum(pinned_bytes(4 * size) for size in sizes) / sum(4 * size for size in sizes)
    return rounded * trainer_memory.optimizer_bytes(setup, held)


def engine_pod(shape: ModelShape, element: int, tensor: int) -> list[Item]:
    """A pod with an engine of `tensor` GPUs: each worker keeps what its GPU holds of two versions.

    Other engines read the one while the next is fetched (`rollout/vllm_plugin/host_copies.py`).
    """
    staged = engine_memory.parameters_per_gpu(shape, tensor) * element
    return [
        Item("processes", (tensor + 2) * PROCESS_BYTES + WORKER_BYTES),
        Item(f"newest weight version and the next, in {tensor} workers", 2 * tensor * staged),
    ]
