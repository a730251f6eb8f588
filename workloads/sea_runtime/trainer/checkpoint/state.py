"""What a checkpoint holds: Megatron's sharded parameters and optimizer states, and RNG states.

The optimizer is saved in the layout that any expert- or data-parallel size can load
(`fully_reshardable`).
"""

from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedObject
from megatron.core.parallel_state import get_data_parallel_group

from sea_runtime.trainer.device import has_cuda
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer import Optimizer


def content_metadata() -> dict[str, Any]:
    """Megatron's description of the layout that is saved and loaded."""
    return {
        "distrib_optim_sharding_type": "fully_reshardable",
        "distrib_optim_fully_reshardable_mem_efficient": False,
        "singleton_local_shards": False,
        "chained_optim_avoid_prefix": False,
        "dp_cp_group": get_data_parallel_group(with_context_parallel=True),
    }


def sharded(model: Model, optimizer: Optimizer, *, loading: bool) -> dict[str, Any]:
    """The sharded state of this rank; with `loading`, the places to load into."""
    metadata = content_metadata()
    # Of `gpt`, not of the DDP: names don't carry the wrapper's prefix.
    model_state = model.gpt.sharded_state_dict(metadata=metadata)
    state: dict[str, Any] = {"model": model_state}
    state["optimizer"] = optimizer.megatron.sharded_state_dict(
        model_state, is_loading=loading, metadata=metadata
    )
    rank, world_size = model.layout.rank, model.layout.world_size
    # When loading, `rng_shards` plans it by the world size that saved.
    if not loading:
        state["rng"] = ShardedObject("rng", torch.get_rng_state(), (world_size,), (rank,))
    return state


def rng_shards(rank: int, world_size: int, saved_world_size: int) -> list[ShardedObject]:
    """Where this rank's RNG state is in the checkpoint, first; a rank beyond shares another's.

    Megatron requires that each shard is loaded exactly once, replicas aside: the states of ranks
    that no longer exist follow.
    """
    if rank >= saved_world_size:
        place = (rank % saved_world_size,)
        return [ShardedObject("rng", None, (saved_world_size,), place, rank // saved_world_size)]
    places = range(rank, saved_world_size, world_size)
    return [ShardedObject("rng", None, (saved_world_size,), (place,)) for place in places]


@torch.no_grad()
def prepare_load(optimizer: Optimizer) -> None:
    """Creates the optimizer's states: torch's Adam has none before its first step to load into."""
    for part in optimizer.megatron.chained_optimizers:
        part._init_optimizer_states_with_dummy_values()


def apply(model: Model, optimizer: Optimizer, loaded: dict[str, Any]) -> None:
    """Copies a loaded state into model, optimizer and RNG."""
    model.gpt.load_state_dict(loaded["model"], strict=True)
    optimizer.megatron.load_state_dict(loaded["optimizer"])
    if not has_cuda():
        from sea_runtime.trainer.megatron_cpu.adam_step_tensor import own_step_tensors

        # After the load, which shares one step tensor among all parameters.
        own_step_tensors(optimizer.megatron)
    torch.set_rng_state(loaded["rng"][0])
