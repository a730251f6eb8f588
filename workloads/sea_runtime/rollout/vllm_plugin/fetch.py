"""How the bytes of a weight version reach a vLLM worker: all shards at once, each by what works.

NIXL first; if the source is dead, hung, or has overwritten its buffer in the meantime (the
checksums tell), the object-store copy of an anchor version. Used by `staging`'s thread.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from sea_api.contract import Env
from sea_runtime.errors import RuntimeFailure
from sea_runtime.transport import manifest
from sea_runtime.transport.read_plan import ShardRead
from sea_runtime.wire.weights import Shard, WeightVersion

NIXL = "NIXL"
OBJECT_STORE = "ObjectStore"
MIN_NIXL_BYTES_PER_SECOND = 50e6
"""A transfer slower than this counts as hung."""
MIN_NIXL_TIMEOUT_SECONDS = 5.0
# Shorter than a client's default of 90 s: after a failure the updater asks for a newer version,
# which is better than this one.
STORE_RETRY_TIMEOUT_SECONDS = 60.0


class FetchError(RuntimeFailure):
    """No transport brought all of the version's bytes: ask for the newest version and try that."""

    permanent = False


class Reader(Protocol):
    """One transport for the bytes of a shard."""

    def begin(self, shard: Shard, read: ShardRead, out: torch.Tensor) -> Callable[[], None]:
        """Starts filling `out` (uint8); what it returns waits for the end.

        Both raise any error of their library.
        """
        ...


class NixlReader:
    """Reads the trainer's memory. Keeps one NIXL agent, created at the first read (0.4 s)."""

    def __init__(self) -> None:
        self._sink: Any = None

    def begin(self, shard: Shard, read: ShardRead, out: torch.Tensor) -> Callable[[], None]:
        from sea_runtime.transport.nixl_link import NixlSink

        # Not in the constructor: an engine that only reads the object store never needs NIXL.
        if self._sink is None:
            self._sink = NixlSink(f"{os.environ.get(Env.POD_NAME, 'engine')}-sink")
        sink = self._sink
        # The time-out grows with the read: a fixed one would fail large models or hide a dead
        # source.
        timeout_s = MIN_NIXL_TIMEOUT_SECONDS + read.nbytes / MIN_NIXL_BYTES_PER_SECOND
        started = sink.begin(
            shard.nixl_metadata, shard.nixl_agent, shard.nixl_address, read.runs, out, timeout_s
        )
        return lambda: sink.finish(started)

    def abandoned(self, buffer: torch.Tensor) -> bool:
        """True while a read that timed out may still write to the buffer."""
        return self._sink is not None and bool(self._sink.abandoned(buffer))

    def retain(self, agents: list[str]) -> None:
        """Drops connections to trainers that no longer serve a shard."""
        if self._sink is not None:
            self._sink.retain(agents)

    def release(self, buffer: torch.Tensor) -> None:
        if self._sink is not None:
            self._sink.release(buffer)

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()
            self._sink = None


class ObjectStoreReader:
    """Reads the shard's copy in S3; waits out short outages."""

    def __init__(self) -> None:
        self._store: Any = None

    def begin(self, shard: Shard, read: ShardRead, out: torch.Tensor) -> Callable[[], None]:
        return lambda: self._read(shard, read, out)

    def _read(self, shard: Shard, read: ShardRead, out: torch.Tensor) -> None:
        from sea_runtime.store.s3 import ObjectStore

        if self._store is None:
            self._store = ObjectStore(retry_timeout=STORE_RETRY_TIMEOUT_SECONDS)
        assert shard.object_url is not None
        for run in read.runs:
            part = out[run.local : run.local + run.nbytes].numpy().data
            done = self._store.read_into(shard.object_url, part, start=run.remote)
            if done != run.nbytes:
                raise OSError(
                    f"{shard.object_url} has {run.remote + done} bytes, expected at least "
                    f"{run.remote + run.nbytes}."
                )


def transports(shard: Shard) -> list[str]:
    """Transports that the manifest offers for a shard, best first."""
    offered = []
    # `is not None`: the other two are never empty, an address could be 0.
    if shard.nixl_metadata and shard.nixl_agent and shard.nixl_address is not None:
        offered.append(NIXL)
    if shard.object_url:
        offered.append(OBJECT_STORE)
    return offered


Buffer = Callable[[ShardRead], torch.Tensor]
"""Memory for a read: uint8 [nbytes or more], which nothing else writes to."""


@dataclass
class _Fetch:
    """One shard on its way."""

    shard: Shard
    read: ShardRead
    out: torch.Tensor
    finish: Callable[[], None]
    transport: str
    reasons: list[str]


@dataclass(frozen=True)
class Fetched:
    """A version's bytes, verified."""

    buffers: dict[int, torch.Tensor]
    """By the shard's rank."""
    transport: str
    """The slowest that was needed."""


class Fetcher:
    """Brings the bytes of one version, from all shards at once."""

    def __init__(self, readers: Mapping[str, Reader], buffer: Buffer) -> None:
        self._readers, self._buffer = readers, buffer

    def fetch(self, version: WeightVersion, reads: Sequence[ShardRead]) -> Fetched:
        """Fills and verifies one buffer per shard that holds something needed.

        Raises:
            FetchError: the reason for each transport that failed.
        """
        shards = {shard.rank: shard for shard in version.shards}
        # All are begun before the first is waited for: a worker pulls from all sources at a time.
        begun = [self._begin(shards[read.rank], read, []) for read in reads]
        ended = [self._end(one) for one in begun]
        used = {one.transport for one in ended}
        return Fetched(
            {one.read.rank: one.out for one in ended},
            OBJECT_STORE if OBJECT_STORE in used else NIXL,
        )

    def _begin(self, shard: Shard, read: ShardRead, reasons: list[str]) -> _Fetch:
        """By the best transport that isn't among the reasons."""
        for transport in transports(shard)[len(reasons) :]:
            out = self._buffer(read)
            try:
                finish = self._readers[transport].begin(shard, read, out)
            # Any error: NIXL and UCX raise types of their own, and the next transport may work.
            except Exception as error:
                reasons.append(f"{transport}: {error}")
            else:
                return _Fetch(shard, read, out, finish, transport, reasons)
        raise FetchError(
            f"Shard {shard.rank} could not be fetched: "
            f"{'; '.join(reasons) or 'no transport offered'}."
        )

    def _end(self, one: _Fetch) -> _Fetch:
        """The fetch that brought the bytes: this one, or its successor by another transport."""
        try:
            one.finish()
        except Exception as error:
            one.reasons.append(f"{one.transport}: {error}")
        else:
            # After the read, never trusted from it: a one-sided read of a buffer that the trainer
            # reuses meanwhile succeeds with bytes of two versions.
            damaged = manifest.corrupt(one.read.blocks, parts_of(one.read, one.out))
            if not damaged:
                return one
            one.reasons.append(
                f"{one.transport}: {len(damaged)} blocks have wrong checksums, "
                f"the first of {damaged[0]}"
            )
        return self._end(self._begin(one.shard, one.read, one.reasons))


def parts_of(read: ShardRead, buffer: torch.Tensor) -> Iterator[torch.Tensor]:
    """The bytes of each block of a read."""
    for block, offset in zip(read.blocks, read.offsets, strict=True):
        yield buffer[offset : offset + block.nbytes]
