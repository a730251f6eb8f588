"""The host copy of the next weight version inside a vLLM worker, fetched while it generates.

`worker_extension` starts a prefetch and asks how far it is; `transfer_engine` loads from the copy
while generation is paused. One instance per worker process (`STAGING`).
"""

import logging
import threading
import time
from collections.abc import Iterator

import torch

from sea_runtime.errors import RuntimeFailure
from sea_runtime.rollout.prefetch_status import PrefetchState, PrefetchStatus
from sea_runtime.rollout.vllm_plugin import fetch
from sea_runtime.rollout.vllm_plugin.fetch import NixlReader, ObjectStoreReader
from sea_runtime.transport import manifest
from sea_runtime.wire.weights import Shard, WeightVersion

_log = logging.getLogger(__name__)


class NotStagedError(RuntimeFailure):
    """The version to load was not prefetched, or not completely."""


class Staging:
    """Owns the buffers, which are kept between versions: registering memory for RDMA takes seconds
    per GB."""

    def __init__(self) -> None:
        self._nixl = NixlReader()
        self._readers: dict[str, fetch.Reader] = {
            fetch.NIXL: self._nixl,
            fetch.OBJECT_STORE: ObjectStoreReader(),
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
            transport = fetch.fetch_version(version, self._buffers, self._readers)
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
