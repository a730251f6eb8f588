"""Which bytes of a shard a worker reads: the blocks that overlap what it needs. Pure.

Whole blocks, since each has a checksum; a trainer cuts them as the engines do
(`parallel/engine_blocks.py`), so that nothing else comes with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sea_runtime.errors import RuntimeFailure
from sea_runtime.parallel.regions import Region, Run, runs
from sea_runtime.transport.manifest import ALIGNMENT, region_of
from sea_runtime.wire.weights import Block, Shard, WeightVersion

Needed = Mapping[str, Sequence[Region]]
"""Regions by tensor name."""


class IncompleteVersionError(RuntimeFailure):
    """The version lacks a tensor, or a part of one, that this engine loads."""

    permanent = False


@dataclass(frozen=True)
class ShardRead:
    """What to read of one shard."""

    rank: int
    runs: tuple[Run, ...]
    blocks: tuple[Block, ...]
    offsets: tuple[int, ...]
    """Where each block begins in the reader's buffer."""

    @property
    def nbytes(self) -> int:
        """Of the reader's buffer."""
        return max((run.local + run.nbytes for run in self.runs), default=0)


def read_of(shard: Shard, needed: Needed) -> ShardRead:
    """The blocks of a shard that overlap `needed`, joined to runs."""
    blocks = tuple(
        block
        for block in sorted(shard.blocks, key=lambda block: block.offset)
        if any(_overlap(block, region) for region in needed.get(block.name, ()))
    )
    found = runs(((block.offset, block.nbytes) for block in blocks), ALIGNMENT)
    offsets: list[int] = []
    position = 0
    for block in blocks:
        while block.offset >= found[position].remote + found[position].nbytes:
            position += 1
        offsets.append(found[position].local + block.offset - found[position].remote)
    return ShardRead(shard.rank, tuple(found), blocks, tuple(offsets))


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
