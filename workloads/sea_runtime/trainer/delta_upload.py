"""What changed in this rank's shard since the version before, as one object in S3.

Each block is coded by itself (`transport/delta_codec.py`), so that an engine's worker reads and
applies only its own. Runs in the background: training never waits for it, as long as the buffers
that it compares aren't needed again.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import torch

from sea_runtime.store.s3 import ObjectStore
from sea_runtime.transport import delta_codec
from sea_runtime.transport.manifest import ALIGNMENT, dtype_of
from sea_runtime.wire.weights import Block, ShardDelta

MAX_THREADS = 8


@dataclass(frozen=True)
class Packed:
    """A version's bytes in one of the host buffers."""

    version: int
    attempt: int
    index: int
    """Index of the buffer."""
    blocks: Sequence[Block]
    """With checksums."""
    buffer: torch.Tensor


@cache
def _threads() -> ThreadPoolExecutor:
    # Half of the cores: the others train.
    count = min(MAX_THREADS, max(1, len(os.sched_getaffinity(0)) // 2))
    return ThreadPoolExecutor(count, thread_name_prefix="sea-delta")


def encode(base: Packed, new: Packed, url: str) -> tuple[ShardDelta, bytearray]:
    """The object for `url`, and where in it each block's delta is.

    Both have the same blocks at the same places.
    """
    pairs = zip(base.blocks, new.blocks, strict=True)
    deltas = list(_threads().map(lambda pair: _delta(base, new, *pair), pairs))
    body, offsets = bytearray(), [0] * len(deltas)
    for index in reading_order(new.blocks):
        offsets[index] = len(body)
        body += deltas[index]
    found = ShardDelta(
        url=url,
        base_version=base.version,
        base_attempt=base.attempt,
        offsets=offsets,
        sizes=[len(delta) for delta in deltas],
    )
    return found, body


def upload(base: Packed, new: Packed, store: ObjectStore, url: str) -> ShardDelta:
    """Encodes and uploads; raises what the store raises."""
    delta, body = encode(base, new, url)
    store.put_buffer(url, memoryview(body))
    return delta


def reading_order(blocks: Sequence[Block]) -> list[int]:
    """Indices of the blocks, those of one worker of an engine next to each other.

    A worker needs the same part of each tensor: by tensors it would read a piece here and a piece
    there, one request for each.
    """

    def part(index: int) -> float:
        block = blocks[index]
        if block.shape == block.tensor:
            return -1.0  # every worker's
        return max(at / size for at, size in zip(block.start, block.tensor, strict=True))

    return sorted(range(len(blocks)), key=lambda index: (part(index), index))


def _delta(base: Packed, new: Packed, old: Block, block: Block) -> bytes:
    assert (old.name, old.offset, old.nbytes) == (block.name, block.offset, block.nbytes)
    # Aligned, as the codec's words are.
    assert block.offset % ALIGNMENT == 0
    span = slice(block.offset, block.offset + block.nbytes)
    itemsize = torch.empty((), dtype=dtype_of(block.dtype)).element_size()
    return delta_codec.encode(
        base.buffer[span].numpy(), new.buffer[span].numpy(), itemsize, old.checksum
    )
