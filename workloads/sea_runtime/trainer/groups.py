"""Joins the process groups of one attempt, with a time-out on every collective.

An attempt has a store of its own (prefix), so a process never reads addresses of dead peers. Two
planes: Megatron's groups carry tensors (NCCL or gloo), `Control` carries small objects over gloo.
"""

import datetime
import socket
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state, tensor_parallel

from sea_runtime.trainer.device import has_cuda
from sea_runtime.trainer.world import World


@dataclass(frozen=True)
class Control:
    """Broadcast, gather and agreement of small Python objects among all ranks."""

    rank: int
    world: int
    group: Any

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value on every rank."""
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.group)
        return box[0]

    def broadcast_bytes(self, data: bytes | None) -> bytes:
        """Rank 0's bytes on every rank, without pickling a second copy."""
        size = int(self.broadcast(len(data) if data is not None else 0))
        if self.rank == 0 and data is not None:
            tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        else:
            tensor = torch.empty(size, dtype=torch.uint8)
        if size:
            dist.broadcast(tensor, src=0, group=self.group)
        return tensor.numpy().tobytes()

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value on rank 0 (an empty list elsewhere)."""
        boxes: list[Any] | None = [None] * self.world if self.rank == 0 else None
        dist.gather_object(value, boxes, dst=0, group=self.group)
        return boxes or []

    def all(self, value: Any) -> list[Any]:
        """Every rank's value on every rank."""
        boxes: list[Any] = [None] * self.world
        dist.all_gather_object(boxes, value, group=self.group)
        return boxes

    def smallest(self, value: float) -> float:
        return self._reduce(value, dist.ReduceOp.MIN)

    def total(self, values: list[float]) -> list[float]:
        """Element-wise sum over the ranks."""
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, group=self.group)
        return [float(x) for x in tensor]

    def largest(self, value: float) -> float:
        return self._reduce(value, dist.ReduceOp.MAX)

    def _reduce(self, value: float, operation: Any) -> float:
        tensor = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(tensor, op=operation, group=self.group)
        return float(tensor.item())

    def barrier(self) -> None:
        dist.barrier(group=self.group)


def _store(world: World, timeout: datetime.timedelta) -> Any:
    """Rank 0's store listens on the pod's own address only; others connect to it."""
    master = world.rank == 0
    descriptor = None
    if master:
        listener = socket.create_server((world.master_address, world.master_port), backlog=1024)
        descriptor = listener.detach()
    store = dist.TCPStore(
        world.master_address,
        world.master_port,
        is_master=master,
        timeout=timeout,
        wait_for_workers=False,
        master_listen_fd=descriptor,
    )
    return dist.PrefixStore(f"attempt-{world.attempt}", store)


def join(world: World) -> Control:
    """Joins the attempt; returns once every rank of it has done so."""
    timeout = datetime.timedelta(seconds=world.timeout_s)
    backend = "gloo"
    if has_cuda():
        torch.cuda.set_device(world.local_rank)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(
        backend,
        store=_store(world, timeout),
        rank=world.rank,
        world_size=world.size,
        timeout=timeout,
    )
    group = dist.new_group(backend="gloo", timeout=timeout)
    control = Control(world.rank, world.size, group)
    control.barrier()
    return control


def model_parallel(world: World, expert: int) -> None:
    """Builds Megatron's groups for an expert-parallel size, anew where the size changes."""
    if parallel_state.model_parallel_is_initialized():
        if parallel_state.get_expert_model_parallel_world_size() == expert:
            return
        parallel_state.destroy_model_parallel()
    parallel_state.initialize_model_parallel(
        expert_model_parallel_size=expert,
        # the only one of torch's and Megatron's time-outs that reaches every group
        distributed_timeout_minutes=world.timeout_s / 60,
        create_gloo_process_groups=has_cuda(),
    )
    if has_cuda():
        tensor_parallel.model_parallel_cuda_manual_seed(1)


def leave() -> None:
    """Tears the groups down; a process that joins again needs a new attempt."""
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()
