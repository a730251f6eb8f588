"""Which bytes of a shard a worker reads, and to where: the blocks that overlap its needs. Pure.

Whole blocks, since each has a checksum; a trainer cuts them as the engines do
(`parallel/engine_blocks.py`), so that nothing else comes with them. The reader's buffer holds them
in the order in which its parameters do: the experts' matrices that vLLM keeps in one parameter are
then one copy in the pause instead of hundreds (`rollout/vllm_plugin/staged_tensors.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sea_runtime.errors import RuntimeFailure
from sea_runtime.parallel.regions import Region, Run, runs
from sea_runtime.transport.manifest import ALIGNMENT, region_of
from sea_runtime.wire.weights import Block, Shard, WeightVersion

Needed = Mapping[str, Sequence[Region]]
"""Regions by tensor name, in the order in which the reader wants them next to each other."""


class IncompleteVersionError(RuntimeFailure):
    """The version lacks a tensor, or a part of one, that this engine loads."""

    permanent = False


@dataclass(frozen=True)
class ShardRead:
    """What to read of one shard."""

    rank: int
    runs: tuple[Run, ...]
    """By `remote`."""
    blocks: tuple[Block, ...]
    """By offset in the shard."""
    offsets: tuple[int, ...]
    """Where each block begins in the reader's buffer."""

    @property
    def nbytes(self) -> int:
        """Size of the reader's buffer."""
        return max((run.local + run.nbytes for run in self.runs), default=0)


def read_of(shard: Shard, needed: Needed) -> ShardRead:
    """The blocks of a shard that overlap `needed`, joined to runs where both sides are adjacent."""
    blocks = tuple(
        block
        for block in sorted(shard.blocks, key=lambda block: block.offset)
        if any(_overlap(block, region) for region in needed.get(block.name, ()))
    )
    offsets = _places(blocks, needed)
    pieces = (
        Run(block.offset, at, block.nbytes) for block, at in zip(blocks, offsets, strict=True)
    )
    return ShardRead(shard.rank, tuple(runs(pieces, ALIGNMENT)), blocks, offsets)


def _places(blocks: Sequence[Block], needed: Needed) -> tuple[int, ...]:
    """Where each block begins in the reader's buffer, at a multiple of the alignment."""
    rank = {name: position for position, name in enumerate(needed)}
    offsets, end = [0] * len(blocks), 0
    # A stable sort: blocks of one tensor stay in the shard's order, which is the tensor's.
    for index in sorted(range(len(blocks)), key=lambda index: rank[blocks[index].name]):
        offsets[index] = end
        end += -(-blocks[index].nbytes // ALIGNMENT) * ALIGNMENT
    return tuple(offsets)


def _overlap(block: Block, region: Region) -> bool:
    # Without a Region for each: a version of 235B parameters has 300,000 blocks.
    for start, size, other, length in zip(
        block.start, block.shape, region.start, region.shape, strict=True
    ):
        if start >= other + length or other >= start + size:
            return False
    return True


def reads_of(version: WeightVersion, needed: Needed) -> list[ShardRead]:
    """What to read of every shard that holds something needed.

    Raises:
        IncompleteVersionError: names the first tensor of which a part is in no block.
    """
    found = [read for shard in version.shards if (read := read_of(shard, needed)).blocks]
    held: dict[str, list[Region]] = {}
    for read in found:
        for block in read.blocks:
            held.setdefault(block.name, []).append(region_of(block))
    for name, regions in needed.items():
        for region in regions:
            if region in held.get(name, ()):
                continue
            parts = [part for have in held.get(name, ()) if (part := have.intersection(region))]
            # Blocks of one tensor never overlap: every element has exactly one publishing rank.
            if sum(part.elements for part in parts) != region.elements:
                raise IncompleteVersionError(
                    f"Version {version.version} doesn't hold all of {name} that this engine loads "
                    f"({list(region.shape)} from {list(region.start)}): trainer and engines must "
                    "run the same model."
                )
    return found
