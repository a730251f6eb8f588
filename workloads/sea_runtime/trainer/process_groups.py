"""Joins the process groups of one attempt, with a time-out on every collective.

Two planes: Megatron's groups carry tensors (NCCL or gloo), `ControlGroup` carries small objects
over gloo.
"""

import datetime
import socket
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state, tensor_parallel

from sea_runtime.parallel.parallel_layout import ParallelLayout
from sea_runtime.trainer.device import has_cuda
from sea_runtime.trainer.process_protocol import RankAssignment

BROADCAST_BYTES = 1 << 30
"""Bytes per collective where there may be many."""


@dataclass(frozen=True)
class ControlGroup:
    """Exchanges small Python objects among all ranks.

    Every method is a collective: all ranks must call the same ones in the same order, or they wait
    for each other until the time-out.
    """

    rank: int
    world_size: int
    group: Any

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value on every rank."""
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.group)
        return box[0]

    def broadcast_bytes(self, data: bytes | None, size: int | None = None) -> bytes:
        """Rank 0's bytes on every rank, without pickling a second copy.

        Args:
            size: of the bytes, if every rank knows it.
        """
        if size is None:
            size = int(self.broadcast(len(data) if data is not None else 0))
        if self.rank == 0 and data is not None:
            # A copy in a bytearray: torch.frombuffer warns about the read-only memory of `bytes`.
            tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        else:
            # gloo needs equal shapes on all ranks.
            tensor = torch.empty(size, dtype=torch.uint8)
        # In parts: a collective's deadline is for one of them, not for a batch of several GB.
        for part in tensor.split(BROADCAST_BYTES) if size else ():
            dist.broadcast(part, src=0, group=self.group)
        return tensor.numpy().tobytes()

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value on rank 0; an empty list elsewhere."""
        boxes: list[Any] | None = [None] * self.world_size if self.rank == 0 else None
        dist.gather_object(value, boxes, dst=0, group=self.group)
        return boxes or []

    def all_gather(self, value: Any) -> list[Any]:
        """Every rank's value on every rank."""
        boxes: list[Any] = [None] * self.world_size
        dist.all_gather_object(boxes, value, group=self.group)
        return boxes

    def sum(self, values: list[float]) -> list[float]:
        """Element-wise sum over the ranks, on every rank; the lists must have one length."""
        # float64, so that sums of counts stay exact and the same for any number of ranks.
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, group=self.group)
        return [float(x) for x in tensor]

    def min(self, value: float) -> float:
        return self._reduce(value, dist.ReduceOp.MIN)

    def max(self, value: float) -> float:
        return self._reduce(value, dist.ReduceOp.MAX)

    def _reduce(self, value: float, operation: Any) -> float:
        tensor = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(tensor, op=operation, group=self.group)
        return float(tensor.item())

    def barrier(self) -> None:
        dist.barrier(group=self.group)


def _store(assignment: RankAssignment, timeout: datetime.timedelta) -> Any:
    """The attempt's own key-value store, served by rank 0 on its pod's own address only."""
    master = assignment.rank == 0
    address = assignment.master_address, assignment.master_port
    # TCPStore would bind to all addresses by itself, so it is given a listening socket.
    descriptor = socket.create_server(address, backlog=1024).detach() if master else None
    store = dist.TCPStore(
        *address,
        is_master=master,
        timeout=timeout,
        # Rank 0 must not wait here: a peer may start minutes later, and `init_process_group` waits
        # with its own time-out.
        wait_for_workers=False,
        master_listen_fd=descriptor,
    )
    # Keys carry the attempt, so that no rank reads the address of a peer that is dead.
    return dist.PrefixStore(f"attempt-{assignment.attempt}", store)


def join(assignment: RankAssignment) -> ControlGroup:
    """Joins the attempt; returns once every rank has joined."""
    timeout = datetime.timedelta(seconds=assignment.timeout_s)
    backend = "gloo"
    if has_cuda():
        # Before the groups: NCCL and Megatron use the current device.
        torch.cuda.set_device(assignment.local_rank)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(
        backend,
        store=_store(assignment, timeout),
        rank=assignment.rank,
        world_size=assignment.world_size,
        timeout=timeout,
    )
    # new_group is a collective: every rank creates the same groups in the same order.
    group = dist.new_group(backend="gloo", timeout=timeout)
    control = ControlGroup(assignment.rank, assignment.world_size, group)
    # When this returns, every rank has built both groups: a peer that is missing is found here, not
    # in the first step.
    control.barrier()
    return control


def build_model_parallel_groups(layout: ParallelLayout, timeout_s: float) -> None:
    """Builds Megatron's groups for a layout; again only if its sizes change. Collective."""
    sizes = {
        "tensor_model_parallel_size": layout.tensor,
        "pipeline_model_parallel_size": layout.pipeline,
        "context_parallel_size": layout.context,
        "expert_model_parallel_size": layout.expert,
        # Always given: Megatron's default is the tensor-parallel size.
        "expert_tensor_parallel_size": layout.expert_tensor,
    }
    if parallel_state.model_parallel_is_initialized():
        if _sizes() == sizes:
            return
        # Megatron refuses to initialize twice. All ranks come here together: they plan the same
        # layout.
        parallel_state.destroy_model_parallel()
    parallel_state.initialize_model_parallel(
        **sizes,
        # The only time-out of torch's and Megatron's that reaches every group.
        distributed_timeout_minutes=timeout_s / 60,
        create_gloo_process_groups=has_cuda(),
    )
    if has_cuda():
        # Seeds Megatron's RNG tracker, from which its layers fork on a GPU.
        tensor_parallel.model_parallel_cuda_manual_seed(1)


def _sizes() -> dict[str, int]:
    """Sizes of the groups that exist."""
    return {
        "tensor_model_parallel_size": parallel_state.get_tensor_model_parallel_world_size(),
        "pipeline_model_parallel_size": parallel_state.get_pipeline_model_parallel_world_size(),
        "context_parallel_size": parallel_state.get_context_parallel_world_size(),
        "expert_model_parallel_size": parallel_state.get_expert_model_parallel_world_size(),
        "expert_tensor_parallel_size": parallel_state.get_expert_tensor_parallel_world_size(),
    }
