"""Stages a Megatron checkpoint in memory and writes it in a thread of the same process.

Megatron's own asynchronous save forks writer processes; here the tensors are copied (bounded by
`maxStagingBytes`) and a thread writes them, so training goes on and no process is left behind.
"""

import logging
import queue
import shutil
from pathlib import Path
from typing import Any

from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncRequest
from megatron.core.dist_checkpointing.strategies.filesystem_async import FileSystemWriterAsync
from megatron.core.dist_checkpointing.strategies.fully_parallel import (
    FullyParallelSaveStrategyWrapper,
)
from megatron.core.dist_checkpointing.strategies.torch import TorchDistSaveShardedStrategy
from megatron.core.parallel_state import get_data_parallel_group

from sea_runtime.trainer.checkpoint import state as states
from sea_runtime.trainer.device import device_names
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer import Optimizer

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
        self._limit = staging_limit
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
            state = states.sharded(model, optimizer, loading=False)
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
        return StagedSave(request, self._limit)
