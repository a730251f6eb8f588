"""Seconds and bytes of weight versions and checkpoints. Pure.

Each worker of an engine fetches what its GPU holds next to generation, checks it in several threads
(`rollout/vllm_plugin/fetch.py`), and replays the copies in a pause (`replay.py`).
"""

from dataclasses import dataclass

from sea_api.v1alpha1.data import Precision
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.planner import parameters
from sea_runtime.planner.engine_memory import parameters_per_gpu
from sea_runtime.planner.gpus import Gpu
from sea_runtime.planner.trainer_memory import MAIN_BYTES

LINE_FRACTION = 0.88
"""Share of a network card's rate that one-sided reads reach. Source: prime-rl, GLM-5.2 on 64 + 32
H200: 44 GB/s per GPU, 89 % of the line rate."""
CHECKSUM_BYTES_PER_SECOND = 8 * 25.4e9
"""xxh3 in eight threads (`transport/manifest.py`); one thread was measured."""
COPY_BYTES_PER_SECOND = 17e9
"""Into memory of the host that has been touched, measured on a CPU; a checkpoint's copy."""
REPLAY_TENSOR_SECONDS = 0.83 / 36945
"""Per tensor of a recorded plan, measured on a CPU for Qwen3-235B."""
LOAD_TENSOR_SECONDS = 5.64 / 36945
"""Per tensor in vLLM's own `load_weights`, measured in the same way."""
STORE_BYTES_PER_SECOND = 12.5e9
"""Rate of one node to the object store: a 100 Gb/s link, assumed."""
SHARD_BUFFERS = 3
"""Host copies of a rank's part of a version (`trainer/shard_buffers.py`)."""

TRANSFER_NOTES = (
    f"One-sided reads reach {LINE_FRACTION:.0%} of the network cards (prime-rl's measurement);"
    f" checksums {CHECKSUM_BYTES_PER_SECOND / 1e9:.0f} GB/s in eight threads (one was measured);"
    f" the object store takes {STORE_BYTES_PER_SECOND / 1e9:.1f} GB/s per node (assumed).",
)


def tensors(shape: ModelShape) -> int:
    """Hugging Face tensors of the model."""
    # A router, and gate, up and down of each expert. The 8 of a layer: two norms, q, k, v, o, and
    # the norms of q and k. Then embedding, last norm, and a head unless it is tied.
    mlp = 1 + 3 * shape.experts if shape.experts else 3
    return shape.layers * (8 + mlp) + (2 if shape.tied else 3)


def weight_bytes(shape: ModelShape, element: int) -> int:
    """One weight version."""
    return parameters.of_model(shape).total * element


def checkpoint_bytes(shape: ModelShape, moments: Precision) -> int:
    """FP32 main parameters, which the weights are rounded of, and Adam's two moments."""
    moment = 2 if moments is Precision.BF16 else 4
    return parameters.of_model(shape).total * (MAIN_BYTES + 2 * moment)


@dataclass(frozen=True)
class Update:
    """One weight version from the trainer into every engine."""

    bytes_per_worker: float
    transfer_s: float
    """Next to generation."""
    verify_s: float
    """Next to generation."""
    pause_s: float
    """Generation waits."""

    @property
    def seconds(self) -> float:
        """Seconds from published to served."""
        return self.transfer_s + self.verify_s + self.pause_s


@dataclass(frozen=True)
class Fleet:
    """Who sends and who receives."""

    trainers: int
    """GPUs that publish."""
    engines: int
    tensor: int
    """Workers of an engine."""


def update(shape: ModelShape, element: int, fleet: Fleet, gpu: Gpu) -> Update:
    """Times of one update: every worker fetches what its GPU holds."""
    nbytes = parameters_per_gpu(shape, fleet.tensor) * element
    return Update(
        bytes_per_worker=nbytes,
        transfer_s=_wire(nbytes, fleet, gpu),
        verify_s=nbytes / CHECKSUM_BYTES_PER_SECOND,
        pause_s=tensors(shape) * REPLAY_TENSOR_SECONDS + nbytes / gpu.host_link,
    )


def load_seconds(shape: ModelShape, element: int, tensor: int, gpu: Gpu) -> float:
    """If an engine loaded a version tensor by tensor, from the host to the GPU."""
    nbytes = weight_bytes(shape, element) / tensor
    return tensors(shape) * LOAD_TENSOR_SECONDS + nbytes / gpu.host_link


def _wire(bytes_per_worker: float, fleet: Fleet, gpu: Gpu) -> float:
    """The slower of the two ends."""
    rate = gpu.network * LINE_FRACTION
    # As if every engine read from the trainer: peers (`coordinator/relay.py`) only make it faster.
    sent = bytes_per_worker * fleet.engines * fleet.tensor / fleet.trainers
    return max(bytes_per_worker, sent) / rate


def publish_seconds(published: float, gpu: Gpu) -> float:
    """Training waits while a rank copies its part to the host and takes its checksums."""
    return published / gpu.host_link + published / CHECKSUM_BYTES_PER_SECOND


@dataclass(frozen=True)
class CheckpointTime:
    foreground_s: float
    """Training waits while the state is copied, or uploaded if it exceeds `maxStagingBytes`."""
    background_s: float
    """Upload."""


def checkpoint(rank_bytes: float, ranks_per_node: int, staging_limit: int) -> CheckpointTime:
    """One save; `rank_bytes` is what one rank writes."""
    upload = rank_bytes * ranks_per_node / STORE_BYTES_PER_SECOND
    if rank_bytes > staging_limit:
        return CheckpointTime(upload, 0.0)
    return CheckpointTime(rank_bytes / COPY_BYTES_PER_SECOND, upload)
