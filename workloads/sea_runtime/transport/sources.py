"""Where the blocks of a shard can be read: from a peer engine, the trainer, or the store. Pure.

A peer keeps the blocks that its own workers fetched, at other offsets than the trainer; `runs` of
a source says where. The reader's side of a read (`read_plan`) is the same whatever the source is,
so a read that fails is repeated from the next source.
"""

import base64
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sea_runtime.parallel.regions import Run, runs
from sea_runtime.transport.manifest import ALIGNMENT
from sea_runtime.transport.read_plan import ShardRead
from sea_runtime.wire.weights import PEER, Block, EngineCopy, Shard, WeightVersion

NIXL = "NIXL"
DELTA = "Delta"
"""From the object store too, by what changed since the version that is held."""
OBJECT_STORE = "ObjectStore"
TRANSPORTS = (PEER, NIXL, DELTA, OBJECT_STORE)
"""Best first: a peer costs neither the trainer's network nor the store's."""


@dataclass(frozen=True)
class Source:
    """One process or object that holds blocks of one shard."""

    transport: str
    name: str
    """Name of the peer's pod, of the trainer's NIXL agent, or of the object."""
    runs: tuple[Run, ...]
    """By `remote`, an offset in the shard; `local` is the offset at the source."""
    agent: str = ""
    metadata: str = ""
    address: int = 0

    def position(self, block: Block) -> int | None:
        """Where the block begins at the source; None if it isn't there."""
        index = bisect_right(self.runs, block.offset, key=lambda run: run.remote) - 1
        if index < 0:
            return None
        run = self.runs[index]
        inside = block.offset - run.remote
        return run.local + inside if inside + block.nbytes <= run.nbytes else None


Offer = tuple[Source, ...]
"""Sources that hold the blocks of a shard together, such as the workers of one peer."""


def offers(version: WeightVersion, shard: Shard) -> list[Offer]:
    """What the version offers for a shard, best first."""
    found = [offer for peer in version.peers if (offer := _of_peer(peer, shard))]
    whole = (Run(0, 0, shard.nbytes),)
    # `is not None`: the other two are never empty, an address could be 0.
    if shard.nixl_metadata and shard.nixl_agent and shard.nixl_address is not None:
        name, address = shard.nixl_agent, shard.nixl_address
        found.append((Source(NIXL, name, whole, name, shard.nixl_metadata, address),))
    if shard.object_url:
        found.append((Source(OBJECT_STORE, shard.object_url, whole),))
    return found


def _of_peer(peer: EngineCopy, shard: Shard) -> Offer:
    return tuple(
        Source(
            PEER,
            peer.pod,
            unpack_runs(part.runs),
            worker.nixl_agent,
            worker.nixl_metadata,
            part.address,
        )
        for worker in peer.workers
        for part in worker.parts
        if part.rank == shard.rank
    )


def split(read: ShardRead, offer: Offer) -> list[tuple[Source, tuple[Run, ...]]] | None:
    """What to read from each source of an offer: `remote` at the source, `local` at the reader.

    Returns:
        None if the offer lacks a block, as an engine that holds other parts of the model does.
    """
    # The source that has most comes first: an engine of the same layout reads from one worker.
    ordered = sorted(offer, key=lambda source: -_held(source, read)) if len(offer) > 1 else offer
    pieces: dict[Source, list[Run]] = {}
    for block, local in zip(read.blocks, read.offsets, strict=True):
        for source in ordered:
            if (remote := source.position(block)) is not None:
                pieces.setdefault(source, []).append(Run(remote, local, block.nbytes))
                break
        else:
            return None
    return [(source, tuple(runs(found, ALIGNMENT))) for source, found in pieces.items()]


def _held(source: Source, read: ShardRead) -> int:
    return sum(source.position(block) is not None for block in read.blocks)


def pack_runs(parts: Iterable[Run]) -> str:
    """Base64 of three little-endian 64-bit numbers per run: a worker of 235B has 37,000."""
    numbers = array(
        "q", (number for run in parts for number in (run.remote, run.local, run.nbytes))
    )
    return base64.b64encode(_little_endian(numbers).tobytes()).decode()


def unpack_runs(packed: str) -> tuple[Run, ...]:
    """Raises ValueError if it is no result of `pack_runs`."""
    numbers = array("q", base64.b64decode(packed, validate=True))
    found = iter(_little_endian(numbers))
    return tuple(Run(*triple) for triple in zip(found, found, found, strict=True))


def _little_endian(numbers: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def slowest(transports: Sequence[str]) -> str:
    """The last resort among those that were used; NIXL if nothing was read."""
    return max(transports, key=TRANSPORTS.index, default=NIXL)
