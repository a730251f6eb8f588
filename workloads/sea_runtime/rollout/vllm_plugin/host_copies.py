"""What a vLLM worker keeps of weight versions in host memory, and serves to other engines.

Two sets of buffers, one buffer per trainer shard: the newest verified version stays whole in one
of them, for peers to read and deltas to build on, while the next version is brought into the other.
Buffers are kept between versions: registering memory for RDMA takes seconds per GB.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from sea_api.contract import Env
from sea_runtime.transport import manifest
from sea_runtime.transport.read_plan import ShardRead
from sea_runtime.transport.sources import pack_runs
from sea_runtime.wire.weights import HeldPart, WorkerCopy


@dataclass(frozen=True)
class HostCopy:
    """A version's blocks that this worker needs, all verified."""

    version: int
    attempt: int
    reads: tuple[ShardRead, ...]
    buffers: Mapping[int, torch.Tensor]
    """By the shard's rank; uint8."""


class HostCopies:
    """Owns the buffers.

    Args:
        abandoned: True while a read that timed out may still write to a buffer.
        release: deregisters a buffer that is about to be freed.
    """

    def __init__(
        self,
        abandoned: Callable[[torch.Tensor], bool],
        release: Callable[[torch.Tensor], None],
    ) -> None:
        self._abandoned, self._release = abandoned, release
        self._kept: dict[int, torch.Tensor] = {}
        self._free: dict[int, torch.Tensor] = {}
        self._aside: list[torch.Tensor] = []
        """Replaced while a read that timed out could still write to them."""
        self.newest: HostCopy | None = None

    def target(self, read: ShardRead) -> torch.Tensor:
        """Memory for a read of the next version; never a buffer of `newest`."""
        self._release_ended()
        known = self._free.get(read.rank)
        usable = known is not None and not self._abandoned(known)
        if known is not None and usable and known.numel() == read.nbytes:
            return known
        if known is not None and usable:
            # Deregister before the buffer is dropped: NIXL would keep reading into freed memory.
            self._release(known)
        elif known is not None:
            self._aside.append(known)
        self._free[read.rank] = manifest.allocate(read.nbytes)
        return self._free[read.rank]

    def _release_ended(self) -> None:
        # Registered memory is never freed by itself: each read that hung would cost its buffer.
        aside, self._aside = self._aside, []
        for buffer in aside:
            if self._abandoned(buffer):
                self._aside.append(buffer)
            else:
                self._release(buffer)

    def keep(self, copy: HostCopy) -> None:
        """Makes the version in the targets the newest; the buffers of the one before are free."""
        # Of a trainer that had more ranks.
        for rank in self._free.keys() - copy.buffers.keys():
            if not self._abandoned(self._free[rank]):
                self._release(self._free.pop(rank))
        self.newest = copy
        self._kept, self._free = self._free, self._kept

    def clear(self) -> None:
        self.newest = None
        self._kept.clear()
        self._aside.clear()
        self._free.clear()


class PeerServer:
    """Serves host copies over NIXL. Its agent is created for the first copy (0.4 s)."""

    def __init__(self) -> None:
        self._source: Any = None

    def serve(self, copy: HostCopy) -> WorkerCopy:
        """Makes a copy readable; returns what a peer needs to know.

        A peer that reads a buffer while the version after the next one is written to it gets
        wrong checksums, and takes another source.
        """
        from sea_runtime.transport.nixl_link import NixlSource

        # Not in the constructor: an engine that only uses the object store never needs NIXL.
        if self._source is None:
            self._source = NixlSource(f"{os.environ.get(Env.POD_NAME, 'engine')}-peer")
        parts = [
            HeldPart(
                rank=read.rank,
                address=self._source.register(copy.buffers[read.rank]),
                runs=pack_runs(read.runs),
            )
            for read in copy.reads
        ]
        return WorkerCopy(
            version=copy.version,
            attempt=copy.attempt,
            nixl_agent=self._source.name,
            # After the registrations: it describes all memory that is readable now.
            nixl_metadata=self._source.metadata_b64(),
            parts=parts,
        )

    def release(self, buffer: torch.Tensor) -> None:
        """Makes a buffer unreadable that is about to be freed."""
        if self._source is not None:
            self._source.unregister(buffer.data_ptr())

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None
