"""The host copy of the next weight version inside a vLLM worker, fetched while it generates.

`transfer_engine` starts a prefetch, asks how far it is, and loads from the copy while generation is
paused. One instance per worker process (`STAGING`). A background thread fetches the shards by the
best transport that works: NIXL first; if the source is dead, hung, or has overwritten its buffer in
the meantime (the checksums tell), the object-store copy of an anchor version.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch

from sea_api.contract import Env
from sea_runtime.errors import RuntimeFailure
from sea_runtime.transport import manifest
from sea_runtime.wire.weights import PrefetchState, PrefetchStatus, Shard, WeightVersion

_log = logging.getLogger(__name__)
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

    def read(self, shard: Shard, out: torch.Tensor) -> None:
        """Fills `out` (uint8, [shard.nbytes]); raises any error of its library."""
        ...


class NixlReader:
    """Reads the trainer's memory. Keeps one NIXL agent, created at the first read (0.4 s)."""

    def __init__(self) -> None:
        self._sink: Any = None

    def read(self, shard: Shard, out: torch.Tensor) -> None:
        from sea_runtime.transport.nixl_link import NixlSink

        # Not in the constructor: an engine that only reads the object store never needs NIXL.
        if self._sink is None:
            self._sink = NixlSink(f"{os.environ.get(Env.POD_NAME, 'engine')}-sink")
        assert shard.nixl_metadata is not None
        assert shard.nixl_agent is not None
        assert shard.nixl_address is not None
        # The time-out grows with the shard: a fixed one would fail large models or hide a dead
        # source.
        self._sink.read(
            shard.nixl_metadata,
            shard.nixl_agent,
            shard.nixl_address,
            shard.nbytes,
            out,
            MIN_NIXL_TIMEOUT_SECONDS + shard.nbytes / MIN_NIXL_BYTES_PER_SECOND,
        )

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

    def read(self, shard: Shard, out: torch.Tensor) -> None:
        from sea_runtime.store.s3 import ObjectStore

        if self._store is None:
            self._store = ObjectStore(retry_timeout=STORE_RETRY_TIMEOUT_SECONDS)
        assert shard.object_url is not None
        done = self._store.read_into(shard.object_url, out[: shard.nbytes].numpy().data)
        if done != shard.nbytes:
            raise OSError(f"{shard.object_url} has {done} bytes, expected {shard.nbytes}.")


def transports(shard: Shard) -> list[str]:
    """Transports that the manifest offers for a shard, best first."""
    offered = []
    # `is not None`: the other two are never empty, an address could be 0.
    if shard.nixl_metadata and shard.nixl_agent and shard.nixl_address is not None:
        offered.append(NIXL)
    if shard.object_url:
        offered.append(OBJECT_STORE)
    return offered


def fetch_shard(shard: Shard, out: torch.Tensor, readers: Mapping[str, Reader]) -> str:
    """Fills and verifies `out`; returns the transport that worked.

    Raises FetchError with the reason for each transport that failed.
    """
    reasons: list[str] = []
    for transport in transports(shard):
        try:
            readers[transport].read(shard, out)
        # Any error: NIXL and UCX raise types of their own, and the next transport may still work.
        except Exception as error:
            reasons.append(f"{transport}: {error}")
            continue
        # After the read, never trusted from it: a one-sided read of a buffer that the trainer
        # reuses meanwhile succeeds with bytes of two versions.
        damaged = manifest.corrupt(shard.tensors, out)
        if not damaged:
            return transport
        reasons.append(
            f"{transport}: {len(damaged)} tensors have wrong checksums, first {damaged[0]}"
        )
    raise FetchError(
        f"Shard {shard.rank} could not be fetched: {'; '.join(reasons) or 'no transport offered'}."
    )


def fetch_version(
    version: WeightVersion, buffers: Mapping[int, torch.Tensor], readers: Mapping[str, Reader]
) -> str:
    """Fills one buffer per shard rank; returns the slowest transport that was needed."""
    used = {fetch_shard(shard, buffers[shard.rank], readers) for shard in version.shards}
    return OBJECT_STORE if OBJECT_STORE in used else NIXL


class NotStagedError(RuntimeFailure):
    """The version to load was not prefetched, or not completely."""


class Staging:
    """Owns the buffers, which are kept between versions: registering memory for RDMA takes seconds
    per GB."""

    def __init__(self) -> None:
        self._nixl = NixlReader()
        self._readers: dict[str, Reader] = {
            NIXL: self._nixl,
            OBJECT_STORE: ObjectStoreReader(),
        }
        self._buffers: dict[int, torch.Tensor] = {}
        self._version: WeightVersion | None = None
        self._status = PrefetchStatus()
        self._thread: threading.Thread | None = None
        self.applying = False
        """True between start and finish of an update: the model's weights are half-loaded."""

    def prefetch(self, version: WeightVersion) -> PrefetchStatus:
        """Starts fetching in the background and returns at once.

        While another fetch runs nothing is started: ask `status` and call again.
        """
        # One at a time: a second fetch would overwrite the buffers that the first one is filling.
        if self._thread is not None and self._thread.is_alive():
            return self._status
        # Set before the thread starts: `prefetch` must never report the version before as running.
        self._version = version
        self._status = PrefetchStatus(
            state=PrefetchState.RUNNING, version=version.version, attempt=version.attempt
        )
        self._thread = threading.Thread(target=self._run, args=(version,), name="sea-prefetch")
        # A fetch that hangs must not keep a stopped engine alive.
        self._thread.daemon = True
        self._thread.start()
        return self._status

    def status(self) -> PrefetchStatus:
        return self._status

    def tensors(self, version: int, attempt: int) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors (views on the buffers), layer by layer; call only when READY.

        Raises NotStagedError if another version, or none, is staged.
        """
        status = self._status
        # With the attempt: a newer attempt may publish the same version number with other weights.
        wanted = (PrefetchState.READY, version, attempt)
        if (status.state, status.version, status.attempt) != wanted or self._version is None:
            raise NotStagedError(
                f"Version {version} of attempt {attempt} should be loaded, but staged is "
                f"version {status.version} of attempt {status.attempt} ({status.state})."
            )
        for shard in self._version.shards:
            yield from manifest.unpack(shard.tensors, self._buffers[shard.rank]).items()

    def close(self) -> None:
        self._nixl.close()
        self._buffers.clear()

    def _run(self, version: WeightVersion) -> None:
        started = time.monotonic()
        try:
            for shard in version.shards:
                self._make_room(shard)
            transport = fetch_version(version, self._buffers, self._readers)
            # After the fetch: until then a source of an older attempt might still be needed.
            self._nixl.retain([s.nixl_agent for s in version.shards if s.nixl_agent])
            change = {"state": PrefetchState.READY, "transport": transport}
        except Exception as error:
            _log.warning("Prefetch of version %d failed: %s", version.version, error)
            change = {"state": PrefetchState.FAILED, "error": str(error)}
        seconds = time.monotonic() - started
        # Replaced in one assignment, and last: the engine's own thread reads it at any time.
        self._status = self._status.model_copy(update=change | {"seconds": seconds})

    def _make_room(self, shard: Shard) -> None:
        known = self._buffers.get(shard.rank)
        if known is None or known.numel() != shard.nbytes:
            if known is not None:
                # Deregister before the buffer is dropped: NIXL would keep reading into freed
                # memory.
                self._nixl.release(known)
            self._buffers[shard.rank] = manifest.allocate(shard.tensors)[: shard.nbytes]


STAGING = Staging()
