"""Brings the shards of one weight version into host buffers, by the best way that works.

Called by `staging` in its background thread. NIXL first; where the source is dead, hung, or has
overwritten its buffer meanwhile (the checksums tell), the object-store copy of an anchor version.
"""

import logging
from collections.abc import Mapping
from typing import Protocol

import torch

from sea_runtime.transport import manifest
from sea_runtime.wire.weights import Shard, WeightVersion

_log = logging.getLogger(__name__)
NIXL = "NIXL"
OBJECT_STORE = "ObjectStore"


class FetchError(RuntimeError):
    """No way led to all of the version's bytes: ask for the newest version and try that."""


class Reader(Protocol):
    """One way to the bytes of a shard."""

    def read(self, shard: Shard, out: torch.Tensor) -> None:
        """Fills `out` (uint8, [shard.nbytes]); raises whatever its library raises."""
        ...


def ways(shard: Shard) -> list[str]:
    """Transports that the manifest offers for a shard, best first."""
    offered = []
    if shard.nixl_metadata and shard.nixl_agent and shard.nixl_address is not None:
        offered.append(NIXL)
    if shard.object_url:
        offered.append(OBJECT_STORE)
    return offered


def fetch_shard(shard: Shard, out: torch.Tensor, readers: Mapping[str, Reader]) -> str:
    """Fills and verifies `out`; returns the transport that worked.

    Raises FetchError with the reason of every way that failed.
    """
    reasons: list[str] = []
    for way in ways(shard):
        try:
            readers[way].read(shard, out)
        except Exception as error:
            reasons.append(f"{way}: {error}")
            continue
        damaged = manifest.corrupt(shard.tensors, out)
        if not damaged:
            return way
        reasons.append(f"{way}: {len(damaged)} tensors have wrong checksums, first {damaged[0]}")
    raise FetchError(
        f"Shard {shard.rank} could not be fetched: {'; '.join(reasons) or 'no transport offered'}."
    )


def fetch_version(
    version: WeightVersion, buffers: Mapping[int, torch.Tensor], readers: Mapping[str, Reader]
) -> str:
    """Fills one buffer per shard rank; returns the slowest transport that was needed."""
    used = {fetch_shard(shard, buffers[shard.rank], readers) for shard in version.shards}
    return OBJECT_STORE if OBJECT_STORE in used else NIXL
