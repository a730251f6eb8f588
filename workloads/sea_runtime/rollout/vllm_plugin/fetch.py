"""How the bytes of a weight version reach a vLLM worker: all shards at once, each by what works.

A peer engine first, then the trainer, then the object store. A source that is dead, hung, or has
overwritten its buffer in the meantime (the checksums tell) is left for the next one. Used by
`staging`'s thread.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from sea_api.contract import Env
from sea_runtime.errors import RuntimeFailure
from sea_runtime.parallel.regions import Run
from sea_runtime.transport import manifest, sources
from sea_runtime.transport.read_plan import ShardRead
from sea_runtime.transport.sources import NIXL, Offer, Source
from sea_runtime.wire.weights import (
    MAX_REASON,
    PEER,
    FailedSource,
    FetchCause,
    Shard,
    WeightVersion,
)

MIN_NIXL_BYTES_PER_SECOND = 50e6
"""A transfer slower than this counts as hung."""
MIN_NIXL_TIMEOUT_SECONDS = 5.0


class FetchError(RuntimeFailure):
    """No source brought all of the version's bytes: ask for the newest version and try that."""

    permanent = False

    def __init__(self, message: str, failed: Sequence[FailedSource] = ()) -> None:
        super().__init__(message)
        self.failed = tuple(failed)
        """The sources that were tried."""


class Reader(Protocol):
    """One transport."""

    def begin(self, source: Source, runs: Sequence[Run], out: torch.Tensor) -> Callable[[], None]:
        """Starts copying `runs` of the source to `out` (uint8); what it returns waits for the end.

        Both raise any error of their library.
        """
        ...


class NixlReader:
    """Reads other processes' memory. Keeps one NIXL agent, created at the first read (0.4 s)."""

    def __init__(self) -> None:
        self._sink: Any = None

    def begin(self, source: Source, runs: Sequence[Run], out: torch.Tensor) -> Callable[[], None]:
        from sea_runtime.transport.nixl_link import NixlSink

        # Not in the constructor: an engine that only reads the object store never needs NIXL.
        if self._sink is None:
            self._sink = NixlSink(f"{os.environ.get(Env.POD_NAME, 'engine')}-sink")
        sink = self._sink
        # The time-out grows with the read: a fixed one would fail large models or hide a dead
        # source.
        nbytes = sum(run.nbytes for run in runs)
        timeout_s = MIN_NIXL_TIMEOUT_SECONDS + nbytes / MIN_NIXL_BYTES_PER_SECOND
        started = sink.begin(source.metadata, source.agent, source.address, runs, out, timeout_s)
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


Buffer = Callable[[ShardRead], torch.Tensor]
"""Memory for a read: uint8 [nbytes or more], which nothing else writes to."""


@dataclass
class _Fetch:
    """One shard on its way."""

    shard: Shard
    read: ShardRead
    offers: list[Offer]
    """Not tried yet."""
    failed: list[FailedSource] = field(default_factory=list)
    transport: str = ""
    out: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))
    waits: list[Callable[[], None]] = field(default_factory=list)
    """Reads that have begun, one per source of the offer."""
    current: str = ""
    """Name of the source that is tried."""

    def failure(self, cause: FetchCause, reason: str) -> FailedSource:
        """The failure of the source that is tried."""
        return FailedSource(
            transport=self.transport, name=self.current, cause=cause, reason=reason[:MAX_REASON]
        )


@dataclass(frozen=True)
class Fetched:
    """A version's bytes, verified."""

    buffers: dict[int, torch.Tensor]
    """By the shard's rank."""
    transport: str
    """The last resort that was needed."""
    failed: tuple[FailedSource, ...] = ()
    """Sources that were tried before and did not deliver."""
    unreachable: str = ""
    """Why it came from the object store although other processes have it."""


class Fetcher:
    """Brings the bytes of one version, from all shards at once.

    Args:
        turn: a number of this worker. Each worker begins with another shard: else all workers of
            all engines would ask the first trainer rank at the same moment.
    """

    def __init__(self, readers: Mapping[str, Reader], buffer: Buffer, turn: int = 0) -> None:
        self._readers, self._buffer, self._turn = readers, buffer, turn

    def fetch(self, version: WeightVersion, reads: Sequence[ShardRead]) -> Fetched:
        """Fills and verifies one buffer per shard that holds something needed.

        Raises:
            FetchError: the reason for each source that failed.
        """
        shards = {shard.rank: shard for shard in version.shards}
        first = self._turn % max(1, len(reads))
        fetches = [
            _Fetch(shards[read.rank], read, sources.offers(version, shards[read.rank]))
            for read in (*reads[first:], *reads[:first])
        ]
        try:
            # All are begun before the first is waited for: a worker pulls from all at a time.
            for one in fetches:
                self._begin(one)
            for one in fetches:
                # Each round takes an offer from the list, so that it ends.
                while failure := self._end(one):
                    one.failed.append(failure)
                    self._begin(one)
        except FetchError as error:
            # The reads of the other shards must end, or be known as abandoned: the next version
            # is brought into the same buffers, and a late write would damage it after its check.
            for one in fetches:
                self._wait(one)
            raise FetchError(str(error), _failures(fetches)) from error
        return Fetched(
            {one.read.rank: one.out for one in fetches},
            sources.slowest([one.transport for one in fetches]),
            _failures(fetches),
        )

    def _begin(self, one: _Fetch) -> None:
        """Starts to read from the best offer that is left. Raises FetchError if none is."""
        while one.offers:
            offer = one.offers.pop(0)
            one.transport, one.current = offer[0].transport, offer[0].name
            parts = sources.split(one.read, offer)
            if parts is None:
                one.failed.append(
                    one.failure(FetchCause.OTHER_PARTS, "holds other parts of the model")
                )
                continue
            # Asked for each time: an abandoned read may still write to the buffer before.
            one.out, one.waits = self._buffer(one.read), []
            try:
                for source, runs in parts:
                    reader = self._readers[source.transport]
                    one.waits.append(reader.begin(source, runs, one.out))
            # Any error: NIXL and UCX raise types of their own, and the next source may work.
            except Exception as error:
                # What has begun must end before the buffer is used again.
                self._wait(one)
                one.failed.append(one.failure(cause_of(error), _words(error)))
            else:
                return
        reasons = [f"{failed.transport} {failed.name}: {failed.reason}" for failed in one.failed]
        raise FetchError(
            f"Shard {one.shard.rank} could not be fetched: "
            f"{'; '.join(reasons) or 'no transport offered'}."
        )

    def _end(self, one: _Fetch) -> FailedSource | None:
        """Waits for the reads and verifies; None, or why the bytes can't be used."""
        if error := self._wait(one):
            return one.failure(cause_of(error), _words(error))
        # After the read, never trusted from it: a one-sided read of a buffer that its owner
        # reuses meanwhile succeeds with bytes of two versions.
        damaged = manifest.corrupt(one.read.blocks, parts_of(one.read, one.out))
        if not damaged:
            return None
        return one.failure(
            FetchCause.DAMAGED,
            f"{len(damaged)} blocks have wrong checksums, the first of {damaged[0]}",
        )

    @staticmethod
    def _wait(one: _Fetch) -> Exception | None:
        """Waits for all reads, also after one has failed; returns the first error."""
        first: Exception | None = None
        while one.waits:
            try:
                one.waits.pop()()
            except Exception as error:
                first = first or error
        return first


def cause_of(error: Exception) -> FetchCause:
    """The cause by exception type; NIXL and UCX raise their own types if a source is gone."""
    hung = isinstance(error, TimeoutError)
    return FetchCause.TIMED_OUT if hung else FetchCause.UNREACHABLE


def _words(error: Exception) -> str:
    return str(error) or repr(error)


def _failures(fetches: Sequence[_Fetch]) -> tuple[FailedSource, ...]:
    """Failures of all shards, each source once: a peer that is gone fails for all of them."""
    found = {(one.transport, one.name): one for each in fetches for one in each.failed}
    return tuple(found[key] for key in sorted(found))


def out_of_reach(failed: Sequence[FailedSource]) -> bool:
    """True if another process's memory could not be read, rather than had other bytes."""
    return any(
        one.transport in (PEER, NIXL)
        and one.cause in (FetchCause.UNREACHABLE, FetchCause.TIMED_OUT)
        for one in failed
    )


def parts_of(read: ShardRead, buffer: torch.Tensor) -> Iterator[torch.Tensor]:
    """The bytes of each block of a read."""
    for block, offset in zip(read.blocks, read.offsets, strict=True):
        yield buffer[offset : offset + block.nbytes]
