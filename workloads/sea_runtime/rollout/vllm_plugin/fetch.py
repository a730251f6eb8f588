"""Fetches the shards of one weight version into host buffers, by the best transport that works.

Called by `staging` in its background thread. NIXL first; if the source is dead, hung, or has
overwritten its buffer in the meantime (the checksums tell), the object-store copy of an anchor
version.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from sea_api.contract import Env
from sea_runtime.errors import RuntimeFailure
from sea_runtime.transport import manifest
from sea_runtime.wire.weights import Shard, WeightVersion

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
