"""What a checkpoint holds, and how it is staged and written next to training.

It holds Megatron's sharded parameters and optimizer states, and RNG states. The optimizer is saved
in the layout that any expert- or data-parallel size can load (`fully_reshardable`).

Megatron's own asynchronous save forks writer processes; here the tensors are copied (bounded by
`maxStagingBytes`) and a thread of the same process writes them, so training goes on and no process
is left behind.
"""

import logging
import queue
import shutil
from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.mapping import ShardedObject
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncRequest
from megatron.core.dist_checkpointing.strategies.filesystem_async import FileSystemWriterAsync
from megatron.core.dist_checkpointing.strategies.fully_parallel import (
    FullyParallelSaveStrategyWrapper,
)
from megatron.core.dist_checkpointing.strategies.torch import TorchDistSaveShardedStrategy
from megatron.core.parallel_state import get_data_parallel_group

from sea_runtime.trainer.device import device_names
from sea_runtime.trainer.megatron_workarounds import adam_step_tensor
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer import Optimizer


def content_metadata() -> dict[str, Any]:
    """Megatron's description of the layout that is saved and loaded."""
    return {
        "distrib_optim_sharding_type": "fully_reshardable",
        "distrib_optim_fully_reshardable_mem_efficient": False,
        "singleton_local_shards": False,
        # Megatron chains one optimizer, or two where experts are spread. Without a prefix per
        # optimizer either can load what the other saved.
        "chained_optim_avoid_prefix": True,
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
    rank, world_size = model.place.rank, model.layout.world_size
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
    _adopt(optimizer, loaded["optimizer"])
    # After the load, which shares one step tensor among all parameters of torch's Adam, on a GPU
    # without TransformerEngine too.
    adam_step_tensor.own_step_tensors(optimizer.megatron)
    torch.set_rng_state(loaded["rng"][0])


def _adopt(optimizer: Optimizer, loaded: Any) -> None:
    """Loads the optimizer's state, saved by any number of chained optimizers.

    Megatron's own `load_state_dict` wants as many of them as there are now: one, or two if experts
    are spread. Parameter groups are those of this optimizer, with the saved number of steps.
    """
    parts = optimizer.megatron.chained_optimizers
    # Sharded states come in the form of this optimizer, the rest in that of the one that saved:
    # several are numbered, a single one is not.
    each = [loaded] if len(parts) == 1 else [loaded[number] for number in range(len(parts))]
    saved = loaded if "optimizer" in loaded else loaded[0]
    step = saved["optimizer"]["param_groups"][0]["step"]
    for part, state in zip(parts, each, strict=True):
        own = part.state_dict()
        for group in own["optimizer"]["param_groups"]:
            group["step"] = step
        own["param_state"] = state["param_state"]
        own["param_state_sharding_type"] = "fully_reshardable"
        part.load_state_dict(own)


log = logging.getLogger(__name__)


class _NoQueue:
    """Replaces Megatron's queue of busy writer processes."""

    def get(self) -> None:
        return None

    def task_done(self) -> None:
        return None


class StagedSave:
    """One save of one rank: planned and copied on construction, written by `write`.

    A state above `staging_limit` bytes is not copied but written on construction.
    """

    def __init__(self, request: AsyncRequest, staging_limit: int) -> None:
        self._request = request
        self.nbytes = 0
        # A rank may have nothing to write: replicas are saved by one rank only.
        if request.async_fn is None:
            self._buckets: list[Any] = []
            return
        self._transforms = request.async_fn.args[0]
        _, buckets, self._results = request.async_fn_args
        self.nbytes = sum(t.nbytes for _, _, (_, items) in buckets for _, t in items)
        if self.nbytes > staging_limit:
            log.warning(
                "A checkpoint of %d bytes exceeds checkpoint.maxStagingBytes (%d): training waits "
                "while it is written.",
                self.nbytes,
                staging_limit,
            )
            self._buckets = buckets
            self.write()
            self._buckets = []
        else:
            self._buckets = [_copied(bucket) for bucket in buckets]

    def write(self) -> None:
        """Writes this rank's files; safe in any thread."""
        if not self._buckets:
            return
        written: dict[int, Any] = {}
        for index, bucket in enumerate(self._buckets):
            answers: queue.Queue[Any] = queue.Queue()
            # megatron-core 0.16.1 normally runs this in worker processes; it answers through the
            # queue. No fsync: the files are uploaded at once and deleted afterwards.
            FileSystemWriterAsync.write_preloaded_data(
                self._transforms, index, bucket, answers, _NoQueue(), use_fsync=False
            )
            _, result = answers.get_nowait()
            if isinstance(result, Exception):
                raise result
            written[index] = result
        self._buckets = []
        # Last: `finalize` reads it on the training thread, after `poll` has seen this thread end.
        self._results.put(written)

    def finalize(self) -> None:
        """Writes the metadata on rank 0. Collective, so on the training thread of every rank.

        Another thread's collectives would interleave with those of the training step.
        """
        with device_names():
            for finish in self._request.finalize_fns:
                finish()


def _copied(bucket: Any) -> Any:
    path, key, (blobs, tensors) = bucket
    # copy=True: on a CPU `to` would return the parameter itself, which the next step changes.
    return path, key, (blobs, [(item, tensor.to("cpu", copy=True)) for item, tensor in tensors])


class Writer:
    """Plans saves; keeps the plan, which is the same for every save of a stage."""

    def __init__(self, staging_limit: int) -> None:
        self.staging_limit = staging_limit
        # One file per rank; the cached plan spares a gather of all ranks' metadata per save.
        inner = TorchDistSaveShardedStrategy("torch_dist", 1, thread_count=1, cached_metadata=True)
        self._strategy = FullyParallelSaveStrategyWrapper(
            inner, get_data_parallel_group(with_context_parallel=True), do_cache_distribution=True
        )
        self._validated = False

    def stage(self, model: Model, optimizer: Optimizer, folder: Path) -> StagedSave:
        """Copies the state as it is now; the parameters may change afterwards. Collective."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with device_names():
            state = sharded(model, optimizer, loading=False)
            request = dist_checkpointing.save(
                state,
                str(folder),
                self._strategy,
                # Collective and slow; the plan is the same for every save of a stage, so the first
                # one suffices.
                validate_access_integrity=not self._validated,
                async_sharded_save=True,
            )
        self._validated = True
        return StagedSave(request, self.staging_limit)
