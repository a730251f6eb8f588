"""What a checkpoint holds: Megatron's sharded parameters and optimizer states, and random states.

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
    """Tells Megatron in which layout to save and load."""
    return {
        "distrib_optim_sharding_type": "fully_reshardable",
        "distrib_optim_fully_reshardable_mem_efficient": False,
        "singleton_local_shards": False,
        "chained_optim_avoid_prefix": False,
        "dp_cp_group": get_data_parallel_group(with_context_parallel=True),
    }


def sharded(model: Model, optimizer: Optimizer, *, loading: bool) -> dict[str, Any]:
    """The sharded state of this rank; when `loading`, the places that are to be filled."""
    metadata = content_metadata()
    model_state = model.gpt.sharded_state_dict(metadata=metadata)
    state: dict[str, Any] = {"model": model_state}
    state["optimizer"] = optimizer.megatron.sharded_state_dict(
        model_state, is_loading=loading, metadata=metadata
    )
    rank, world = model.layout.rank, model.layout.world
    if not loading:
        state["rng"] = ShardedObject("rng", torch.get_rng_state(), (world,), (rank,))
    return state


def random_places(rank: int, world: int, saved_world: int) -> list[ShardedObject]:
    """Where this rank's random state lies, first; a rank that didn't exist then takes another's.

    Megatron wants each shard loaded exactly once, but for replicas: the states of ranks that are no
    more follow.
    """
    if rank >= saved_world:
        place = (rank % saved_world,)
        return [ShardedObject("rng", None, (saved_world,), place, rank // saved_world)]
    places = range(rank, saved_world, world)
    return [ShardedObject("rng", None, (saved_world,), (place,)) for place in places]


@torch.no_grad()
def prepare_load(optimizer: Optimizer) -> None:
    """torch's Adam has no state before its first step: Megatron needs places to load into."""
    for part in optimizer.megatron.chained_optimizers:
        part._init_optimizer_states_with_dummy_values()


def apply(model: Model, optimizer: Optimizer, loaded: dict[str, Any]) -> None:
    """Puts a loaded state into model and optimizer."""
    model.gpt.load_state_dict(loaded["model"], strict=True)
    optimizer.megatron.load_state_dict(loaded["optimizer"])
    if not has_cuda():
        from sea_runtime.trainer.megatron_cpu.adam_step_tensor import own_step_tensors

        own_step_tensors(optimizer.megatron)
    torch.set_rng_state(loaded["rng"][0])
