"""Brings a weight version from the object store: by deltas from what is held, else from an anchor.

The worker's newest verified version (`host_copies`) is the base; each delta on the way is applied
block by block to scratch memory, verified by the block's xxh3, and only the wanted version's bytes
reach the buffers, before the pause. Whatever is wrong with the deltas (missing, truncated, damaged,
for another base), the newest anchor on the way is read instead, with the deltas after it. Used by
`staging`'s thread.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from sea_data.object_store import StoreError
from sea_runtime.parallel.regions import Run
from sea_runtime.rollout.vllm_plugin.fetch import Buffer, Fetched, FetchError, parts_of
from sea_runtime.rollout.vllm_plugin.host_copies import HostCopy
from sea_runtime.rollout.vllm_plugin.store_reader import MAX_GAP, ObjectStoreReader, Store
from sea_runtime.transport import delta_codec, manifest, stored_versions
from sea_runtime.transport.delta_codec import DamagedDeltaError, DeltaError
from sea_runtime.transport.read_plan import ShardRead
from sea_runtime.transport.sources import DELTA, OBJECT_STORE, Source
from sea_runtime.transport.stored_versions import Path, StoredVersionError
from sea_runtime.wire.weights import (
    MAX_REASON,
    Block,
    FailedSource,
    FetchCause,
    Shard,
    ShardDelta,
    WeightVersion,
)

_log = logging.getLogger(__name__)
MAX_THREADS = 8
"""Shards and blocks at a time: each core applies 4 GB/s."""


@cache
def _threads() -> ThreadPoolExecutor:
    count = min(MAX_THREADS, len(os.sched_getaffinity(0)))
    return ThreadPoolExecutor(count, thread_name_prefix="sea-delta")


@dataclass(frozen=True)
class _Pieces:
    """A shard's deltas of one version, as far as this worker needs them."""

    blocks: Sequence[Block]
    deltas: Sequence[memoryview]


class DeltaFetcher:
    """Reads versions of one run from the object store.

    Args:
        store: made at the first use.
        buffer: memory for the wanted version, never that of the held one.
    """

    def __init__(self, store: Callable[[], Store], buffer: Buffer) -> None:
        self._store, self._buffer = store, buffer
        self._reader = ObjectStoreReader(store)

    def bring(
        self, version: WeightVersion, reads: Sequence[ShardRead], held: HostCopy | None
    ) -> Fetched:
        """Fills and verifies one buffer per read.

        Raises:
            FetchError: neither deltas nor an anchor brought the version; with both reasons.
        """
        reasons, down = [], False
        for base in [held, None] if held is not None else [None]:
            path = None
            try:
                path = self._path(version, base)
                # Only where the deltas begin at what is held; else both rounds are the same.
                own = base if path.start is None else None
                buffers = self._follow(path, reads, own)
            # Whatever a store, a file or a decoder says: the anchor is one more chance.
            except (StoreError, StoredVersionError, DeltaError, FetchError) as error:
                reasons.append(str(error))
                # Also of a manifest: to `path_to` one that can't be read is a broken chain.
                down = down or any(isinstance(e, StoreError) for e in (error, error.__cause__))
                _log.warning("Version %d from the object store: %s", version.version, error)
                if base is not None and path is not None and path.start is not None:
                    break
            else:
                return Fetched(buffers, DELTA if path.start is None else OBJECT_STORE)
        reason = "; ".join(dict.fromkeys(reasons))
        failed = FailedSource(
            transport=OBJECT_STORE,
            name=stored_versions.version_folder(version.run_url, version.stream, version.version),
            cause=FetchCause.UNREACHABLE if down else FetchCause.DAMAGED,
            reason=reason[:MAX_REASON],
        )
        raise FetchError(f"{OBJECT_STORE}: {reason}", [failed])

    def _path(self, version: WeightVersion, held: HostCopy | None) -> Path:
        def load(number: int) -> WeightVersion:
            url = stored_versions.manifest_url(version.run_url, version.stream, number)
            try:
                body = self._store().get(url)
            except StoreError as error:
                raise StoredVersionError(f"{url}: {error}") from error
            return stored_versions.parse(body, url, version.run_url, version.stream)

        at = None if held is None else (held.version, held.attempt)
        return stored_versions.path_to(version, at, load)

    def _follow(
        self, path: Path, reads: Sequence[ShardRead], held: HostCopy | None
    ) -> dict[int, torch.Tensor]:
        # One shard after another: its blocks are what runs in parallel, and only one shard's
        # deltas are in memory.
        return {read.rank: self._shard(path, read, held) for read in reads}

    def _shard(self, path: Path, read: ShardRead, held: HostCopy | None) -> torch.Tensor:
        out = self._buffer(read)
        blocks: Sequence[Block]
        if path.start is None:
            assert held is not None
            own = next((one for one in held.reads if one.rank == read.rank), None)
            if own is None or _places(own.blocks) != _places(read.blocks):
                raise StoredVersionError("What this worker holds is cut into other blocks.")
            blocks, bases = own.blocks, list(parts_of(own, held.buffers[read.rank]))
        else:
            blocks = self._anchor(path.start, read, out)
            bases = list(parts_of(read, out))
        steps = [self._pieces(one, read) for one in path.deltas]
        if steps:
            sums = [block.checksum for block in blocks]
            chains = zip(*[zip(one.blocks, one.deltas, strict=True) for one in steps], strict=True)
            work = zip(bases, sums, chains, parts_of(read, out), strict=True)
            _finish([_threads().submit(_apply, *one) for one in work])
        return out

    def _anchor(self, version: WeightVersion, read: ShardRead, out: torch.Tensor) -> list[Block]:
        """Reads the shard's bytes; returns their blocks."""
        shard = _shard_of(version, read.rank)
        assert shard.object_url is not None
        blocks = _blocks_of(shard, read)
        source = Source(OBJECT_STORE, shard.object_url, (Run(0, 0, shard.nbytes),))
        try:
            self._reader.begin(source, read.runs, out)()
        except OSError as error:
            raise StoredVersionError(str(error)) from error
        if damaged := manifest.corrupt(blocks, parts_of(read, out)):
            raise StoredVersionError(
                f"{shard.object_url}: {len(damaged)} blocks have wrong checksums, the first of "
                f"{damaged[0]}"
            )
        return blocks

    def _pieces(self, version: WeightVersion, read: ShardRead) -> _Pieces:
        shard = _shard_of(version, read.rank)
        assert shard.delta is not None
        positions = {block.offset: index for index, block in enumerate(shard.blocks)}
        wanted = [positions[block.offset] for block in read.blocks]
        blocks = [shard.blocks[one] for one in wanted]
        return _Pieces(blocks, self._read(shard.delta, wanted, [one.nbytes for one in blocks]))

    def _read(
        self, delta: ShardDelta, wanted: Sequence[int], nbytes: Sequence[int]
    ) -> list[memoryview]:
        """The deltas of some blocks, with the given sizes, in as few requests as possible."""
        sizes = delta.sizes
        if len(delta.offsets) != len(sizes) or max(wanted) >= len(sizes) or min(sizes) < 0:
            raise DamagedDeltaError(f"The manifest lists other blocks than {delta.url} has.")
        # Before memory is asked for: a delta is hardly larger than its block (`delta_codec`).
        if any(
            sizes[index] > 2 * most + MAX_GAP for index, most in zip(wanted, nbytes, strict=True)
        ):
            raise DamagedDeltaError(
                f"The manifest lists an impossible size of a part of {delta.url}."
            )
        found: dict[int, memoryview] = {}
        for start, end, members in spans(delta, wanted):
            data = memoryview(bytearray(end - start))
            done = self._store().read_into(delta.url, data, start=start)
            if done != end - start:
                raise DamagedDeltaError(f"{delta.url} ends at byte {start + done}, before {end}.")
            for index in members:
                at = delta.offsets[index] - start
                found[index] = data[at : at + delta.sizes[index]]
        return [found[index] for index in wanted]


def spans(delta: ShardDelta, wanted: Sequence[int]) -> Iterator[tuple[int, int, list[int]]]:
    """(first byte, end, blocks) of the requests that read some blocks' deltas."""
    start = end = 0
    members: list[int] = []
    for index in sorted(wanted, key=lambda one: delta.offsets[one]):
        at, size = delta.offsets[index], delta.sizes[index]
        if members and at - end > MAX_GAP:
            yield start, end, members
            members = []
        start = at if not members else start
        end = at + size
        members.append(index)
    if members:
        yield start, end, members


def _finish(blocks: Sequence[Future[None]]) -> None:
    """Waits for all blocks; raises the first error once none is at work any more."""
    _, left = wait(blocks, return_when=FIRST_EXCEPTION)
    for one in left:
        one.cancel()
    # The anchor is read into the same memory next: a block that still runs would overwrite it, and
    # after its checksums were compared.
    wait(left)
    for one in blocks:
        if not one.cancelled():
            one.result()


def _apply(
    base: torch.Tensor,
    checksum: int,
    chain: Sequence[tuple[Block, memoryview]],
    out: torch.Tensor,
) -> None:
    """Follows one block through its deltas, each verified; `base` may be `out`."""
    at, final = base.numpy(), out.numpy()
    separate = base.data_ptr() != out.data_ptr()
    for step, (block, delta) in enumerate(chain, 1):
        # Never in place: a delta that is found wrong has changed nothing that it was based on.
        target = final if separate and step == len(chain) else np.empty_like(at)
        delta_codec.apply(delta, at, target, checksum)
        at, checksum = target, block.checksum
        if manifest.checksum(torch.from_numpy(at)) != checksum:
            raise DamagedDeltaError(f"A delta of {block.name} leads to other bytes than published.")
    if at is not final:
        np.copyto(final, at)


def _shard_of(version: WeightVersion, rank: int) -> Shard:
    found = next((shard for shard in version.shards if shard.rank == rank), None)
    if found is None:
        raise StoredVersionError(f"Version {version.version} has no shard {rank}.")
    return found


def _blocks_of(shard: Shard, read: ShardRead) -> list[Block]:
    """The shard's blocks at the places of a read."""
    by_offset: Mapping[int, Block] = {block.offset: block for block in shard.blocks}
    found = [by_offset[one.offset] for one in read.blocks if one.offset in by_offset]
    if _places(found) != _places(read.blocks):
        raise StoredVersionError("The anchor is cut into other blocks than the version.")
    return found


def _places(blocks: Sequence[Block]) -> list[object]:
    return [(one.name, one.start, one.shape, one.dtype, one.offset) for one in blocks]
