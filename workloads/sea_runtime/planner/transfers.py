"""Seconds and bytes of weight versions, checkpoints and host copies. Pure.

As the code is today: each worker of an engine fetches every shard into memory of its own
(`rollout/vllm_plugin/staging.py`), checks it in one thread, and loads it while generation is
paused. `sliced_update` is the bound if each worker fetched only what its GPU holds; published
systems do that, and `published.py` compares them with it.
"""

from dataclasses import dataclass

from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.planner import parameters
from sea_runtime.planner.gpus import Gpu

LINE_FRACTION = 0.88
"""Of a network card's rate that one-sided reads reach. Source: prime-rl, GLM-5.2 on 64 + 32 H200:
44 GB/s per GPU, 89 % of the line rate."""
CHECKSUM_BYTES_PER_SECOND = 6.6e9
"""zlib.crc32 in one thread, measured."""
COPY_BYTES_PER_SECOND = 2.5e9
"""Into fresh memory of the host, measured; a checkpoint's copy."""
LOAD_TENSOR_SECONDS = 5.64 / 36945
"""Per tensor in vLLM's `load_weights`, measured on a CPU for Qwen3-235B."""
STORE_BYTES_PER_SECOND = 12.5e9
"""Of one node to the object store: a 100 Gb/s link, assumed."""
SHARD_BUFFERS = 3
"""Host copies of a rank's part of a version (`trainer/shard_buffers.py`)."""

TRANSFER_NOTES = (
    f"One-sided reads reach {LINE_FRACTION:.0%} of the network cards (prime-rl's measurement);"
    f" checksums {CHECKSUM_BYTES_PER_SECOND / 1e9:.1f} GB/s in one thread (measured); the object"
    f" store takes {STORE_BYTES_PER_SECOND / 1e9:.1f} GB/s per node (assumed).",
)


def tensors(shape: ModelShape) -> int:
    """Hugging Face tensors of the model."""
    mlp = 1 + 3 * shape.experts if shape.experts else 3
    return shape.layers * (8 + mlp) + (2 if shape.tied else 3)


def weight_bytes(shape: ModelShape, element: int) -> int:
    """One weight version."""
    return parameters.of_model(shape).total * element


def checkpoint_bytes(shape: ModelShape, element: int) -> int:
    """Weights, FP32 main copy and two moments. Measured in FP32: 16.1 bytes per parameter."""
    return parameters.of_model(shape).total * (element + 12)


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
        """From published to served."""
        return self.transfer_s + self.verify_s + self.pause_s


@dataclass(frozen=True)
class Fleet:
    """Who sends and who receives."""

    trainers: int
    """GPUs that publish."""
    engines: int
    tensor: int
    """Workers of an engine."""


def whole_update(shape: ModelShape, element: int, fleet: Fleet, gpu: Gpu) -> Update:
    """As the engines do it today: every worker fetches the whole version."""
    nbytes = weight_bytes(shape, element)
    pause = tensors(shape) * LOAD_TENSOR_SECONDS + nbytes / fleet.tensor / gpu.host_link
    return Update(
        bytes_per_worker=nbytes,
        transfer_s=_wire(nbytes, fleet, gpu),
        verify_s=nbytes / CHECKSUM_BYTES_PER_SECOND,
        pause_s=pause,
    )


def sliced_update(
    shape: ModelShape, element: int, fleet: Fleet, gpu: Gpu, wire_element: float | None = None
) -> Update:
    """If every worker fetched its own slices, straight to its GPU: the physical limit."""
    nbytes = weight_bytes(shape, element) / fleet.tensor * ((wire_element or element) / element)
    return Update(nbytes, _wire(nbytes, fleet, gpu), 0.0, 0.0)


def _wire(bytes_per_worker: float, fleet: Fleet, gpu: Gpu) -> float:
    """The slower of the two ends."""
    rate = gpu.network * LINE_FRACTION
    sent = bytes_per_worker * fleet.engines * fleet.tensor / fleet.trainers
    return max(bytes_per_worker, sent) / rate


def publish_seconds(published: float, gpu: Gpu) -> float:
    """Training waits while a rank copies its part to the host and takes its checksums."""
    return published / gpu.host_link + published / CHECKSUM_BYTES_PER_SECOND


@dataclass(frozen=True)
class CheckpointTime:
    foreground_s: float
    """Training waits while the state is copied, or written if it exceeds `maxStagingBytes`."""
    background_s: float
    """Upload."""


def checkpoint(rank_bytes: float, ranks_per_node: int, staging_limit: int) -> CheckpointTime:
    """One save; `rank_bytes` is what one rank writes."""
    upload = rank_bytes * ranks_per_node / STORE_BYTES_PER_SECOND
    copied = rank_bytes <= staging_limit
    foreground = rank_bytes / COPY_BYTES_PER_SECOND
    return CheckpointTime(foreground if copied else 2 * foreground, upload)
