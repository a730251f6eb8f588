"""The two ways to a shard's bytes: a NIXL read from the trainer's memory, or the object store."""

import os
from typing import Any

import torch

from sea_api.contract import Env
from sea_runtime.wire.weights import Shard

NIXL_BYTES_PER_S = 50e6
"""A floor: slower than this counts as hung."""
NIXL_LEAST_S = 5.0


class NixlReader:
    """Keeps one NIXL agent, made at the first read (it costs 0.4 s)."""

    def __init__(self) -> None:
        self._sink: Any = None

    def read(self, shard: Shard, out: torch.Tensor) -> None:
        from sea_runtime.transport.nixl_link import NixlSink

        if self._sink is None:
            self._sink = NixlSink(f"{os.environ.get(Env.POD_NAME, 'engine')}-sink")
        assert shard.nixl_metadata is not None
        assert shard.nixl_agent is not None
        assert shard.nixl_address is not None
        self._sink.read(
            shard.nixl_metadata,
            shard.nixl_agent,
            shard.nixl_address,
            shard.nbytes,
            out,
            NIXL_LEAST_S + shard.nbytes / NIXL_BYTES_PER_S,
        )

    def retain(self, agents: list[str]) -> None:
        """Drops connections to trainers that serve no shard any more."""
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
    """Reads the shard's S3 copy; patient during short outages."""

    def __init__(self, patience_s: float = 60.0) -> None:
        self._patience_s = patience_s
        self._store: Any = None

    def read(self, shard: Shard, out: torch.Tensor) -> None:
        from sea_runtime.store.s3 import ObjectStore

        if self._store is None:
            self._store = ObjectStore(patience=self._patience_s)
        assert shard.object_url is not None
        done = self._store.read_into(shard.object_url, out[: shard.nbytes].numpy().data)
        if done != shard.nbytes:
            raise OSError(f"{shard.object_url} has {done} bytes, expected {shard.nbytes}.")
