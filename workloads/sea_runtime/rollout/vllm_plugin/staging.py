"""The host copy of the next weight version inside a vLLM worker, fetched while it generates.

`transfer_engine` starts a prefetch, asks how far it is, and replays the recorded copies from it
while generation is paused. One instance per worker process (`STAGING`). A background thread
fetches (`fetch`) the blocks that this worker needs (`recorder`) and nothing else.
"""

import logging
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from sea_api.contract import Env
from sea_runtime.errors import RuntimeFailure
from sea_runtime.rollout.vllm_plugin.applied_state import AppliedState
from sea_runtime.rollout.vllm_plugin.fetch import Fetched, FetchError, NixlReader
from sea_runtime.rollout.vllm_plugin.host_copies import HostCopies, HostCopy, PeerServer
from sea_runtime.rollout.vllm_plugin.recorder import Copy, Recording, TensorTypes
from sea_runtime.rollout.vllm_plugin.staged_tensors import StagedTensors, Write, writes
from sea_runtime.rollout.vllm_plugin.version_fetch import VersionFetcher, agents_of
from sea_runtime.transport import layouts, manifest
from sea_runtime.transport.read_plan import ShardRead, reads_of
from sea_runtime.transport.sources import NIXL
from sea_runtime.wire.weights import (
    MAX_REASON,
    PEER,
    PrefetchState,
    PrefetchStatus,
    ShardLayout,
    WeightVersion,
    WorkerCopy,
)

_log = logging.getLogger(__name__)


class NotStagedError(RuntimeFailure):
    """The version to load was not prefetched, or not completely."""


def tensor_types(version: WeightVersion) -> TensorTypes:
    """dtype and shape of every tensor, by name; layer by layer as the trainers hold them."""
    return {
        block.name: (manifest.dtype_of(block.dtype), block.tensor)
        for shard in version.shards
        for block in shard.blocks
    }


def _has_sums(version: WeightVersion) -> bool:
    """False for an anchor of a release that didn't sum its blocks: nothing could equal them."""
    return any(block.weighted_sum for shard in version.shards for block in shard.blocks)


def _turn() -> int:
    """Another number for each worker: those of an engine are processes of one pod."""
    return zlib.crc32(f"{os.environ.get(Env.POD_NAME, '')} {os.getpid()}".encode())


class Staging:
    """Brings versions into the host copies, and says how far it is."""

    def __init__(self) -> None:
        self._nixl = NixlReader()
        self._server = PeerServer()
        self._copies = HostCopies(self._nixl.abandoned, self._release)
        self._fetcher = VersionFetcher(
            {PEER: self._nixl, NIXL: self._nixl}, self._copies, turn=_turn
        )
        self._served: WorkerCopy | None = None
        self._layouts: dict[str, ShardLayout] = {}
        """By digest; those of the last versions (`_named`)."""
        self._named: list[set[str]] = []
        """The digests that the last two versions named: of the newest and of its anchor."""
        self._recording: Recording | None = None
        self._recorded: TensorTypes = {}
        self._staged: StagedTensors | None = None
        self._writes: list[list[Write]] = []
        """Of the staged version, by layer of the recording."""
        self._status = PrefetchStatus()
        self._thread: threading.Thread | None = None
        self.applying = False
        """True from the start of an update until it is complete and, if so wanted, checked: the
        model's weights are half-loaded, or may be wrong."""
        self.filled = False
        """True once the model has had a weight version."""
        self._applied: AppliedState | None = None
        self._checked = False
        """True once this worker's parameters were found right after an update."""

    def prefetch(
        self, version: WeightVersion, record: Callable[[TensorTypes], Recording]
    ) -> PrefetchStatus:
        """Starts fetching in the background and returns at once.

        While another fetch runs nothing is started: ask `status` and call again.

        Args:
            record: what this worker needs of such tensors; called the first time, and again if
                names, types or shapes change.
        """
        # One at a time: a second fetch would overwrite the buffers that the first one is filling.
        if self._thread is not None and self._thread.is_alive():
            return self._status
        if absent := layouts.missing(version, self._layouts):
            self._status = PrefetchStatus(missing_layouts=absent)
            return self._status
        self._forget_layouts(version)
        version = layouts.expand(version, self._layouts)
        # Set before the thread starts: `prefetch` must never report the version before as running.
        self._staged, self._writes = None, []
        self._status = PrefetchStatus(
            state=PrefetchState.RUNNING,
            version=version.version,
            attempt=version.attempt,
            # The first update is the first time that the recording is used.
            check=(version.check or not self._checked) and _has_sums(version),
        )
        try:
            recording = self._record(version, record)
        except RuntimeFailure as error:
            return self._failed(error, 0.0)
        self._thread = threading.Thread(
            target=self._run, args=(version, recording), name="sea-prefetch"
        )
        # A fetch that hangs must not keep a stopped engine alive.
        self._thread.daemon = True
        self._thread.start()
        return self._status

    def add_layout(self, digest: str, layout: ShardLayout) -> None:
        """Keeps a layout that versions name."""
        self._layouts[digest] = layout

    def _forget_layouts(self, version: WeightVersion) -> None:
        # Each trainer layout is tens of MB; one that is wanted again is asked for again.
        named = {shard.layout for shard in version.shards}
        if named not in self._named:
            self._named = [*self._named[-1:], named]
            kept = self._named[0].union(*self._named)
            self._layouts = {name: one for name, one in self._layouts.items() if name in kept}

    def status(self) -> PrefetchStatus:
        return self._status

    def layers(
        self, version: int, attempt: int
    ) -> Iterator[tuple[nn.Module, Sequence[Copy], Sequence[Write]]]:
        """What to replay, layer by layer: as recorded, and joined. Call only when READY.

        Raises NotStagedError if another version, or none, is staged.
        """
        status = self._status
        # With the attempt: a newer attempt may publish the same version number with other weights.
        wanted = (PrefetchState.READY, version, attempt)
        found = (status.state, status.version, status.attempt)
        if found != wanted or self._staged is None or self._recording is None:
            raise NotStagedError(
                f"Version {version} of attempt {attempt} should be loaded, but staged is "
                f"version {status.version} of attempt {status.attempt} ({status.state})."
            )
        for (layer, copies), joined in zip(self._recording.layers, self._writes, strict=True):
            yield layer, copies, joined

    def begin_applying(self) -> AppliedState:
        """What takes the sums of the update that begins now."""
        self._applied = AppliedState(self._recorded, check=self._status.check)
        return self._applied

    def end_applying(self) -> None:
        """The update is complete; `applying` stays until its check, if there is to be one."""
        self.applying, self.filled = self._status.check, True

    def wrong(self) -> list[str]:
        """Names of the tensors that this worker doesn't hold as the applied version has them."""
        if self._applied is None or self._recording is None or self._staged is None:
            raise NotStagedError("No version was applied since this worker started.")
        found = self._applied.wrong(self._recording, self._staged)
        # Last: an engine whose check nobody saw must not be resumed.
        self._checked, self.applying = not found, bool(found)
        return found

    def served(self) -> WorkerCopy | None:
        """What peers may read of the newest version; None if it isn't served."""
        return self._served

    def close(self) -> None:
        self._nixl.close()
        self._server.close()
        self._copies.clear()

    def _release(self, buffer: torch.Tensor) -> None:
        self._nixl.release(buffer)
        self._server.release(buffer)

    def _record(
        self, version: WeightVersion, record: Callable[[TensorTypes], Recording]
    ) -> Recording:
        types = tensor_types(version)
        if self._recording is None or types != self._recorded:
            started = time.monotonic()
            self._recording, self._recorded = record(types), types
            _log.info(
                "Recorded what this worker loads of %d tensors in %.2f s.",
                len(types),
                time.monotonic() - started,
            )
        return self._recording

    def _run(self, version: WeightVersion, recording: Recording) -> None:
        started = time.monotonic()
        try:
            reads = reads_of(version, recording.needed())
            fetched = self._fetcher.fetch(version, reads)
            self._keep(
                version, HostCopy(version.version, version.attempt, tuple(reads), fetched.buffers)
            )
            # After the fetch: until then a source of an older attempt might still be needed.
            self._nixl.retain(agents_of(version))
        except Exception as error:
            self._failed(error, time.monotonic() - started)
        else:
            self._ready(reads, fetched, time.monotonic() - started)

    def _keep(self, version: WeightVersion, copy: HostCopy) -> None:
        self._copies.keep(copy)
        self._served = None
        if version.relay:
            try:
                # Before it is reported as READY: the worker container announces it at once.
                self._served = self._server.serve(copy)
            # Any error: NIXL raises types of its own, and this engine has the version all the same.
            except Exception as error:
                _log.warning("Other engines can't read from this one: %r", error)

    def _ready(self, reads: Sequence[ShardRead], fetched: Fetched, seconds: float) -> None:
        assert self._recording is not None
        staged = StagedTensors(reads, fetched.buffers)
        # Now rather than in the pause.
        self._writes = [writes(copies, staged.get) for _, copies in self._recording.layers]
        self._staged = staged
        # Replaced in one assignment, and last: the engine's own thread reads it at any time.
        self._status = self._status.model_copy(
            update={
                "state": PrefetchState.READY,
                "transport": fetched.transport,
                "seconds": seconds,
                "nbytes": sum(read.nbytes for read in reads),
                "failed_sources": list(fetched.failed),
                "unreachable": fetched.unreachable[:MAX_REASON],
            }
        )

    def _failed(self, error: Exception, seconds: float) -> PrefetchStatus:
        _log.warning("Prefetch of version %d failed: %s", self._status.version, error)
        self._status = self._status.model_copy(
            update={
                "state": PrefetchState.FAILED,
                "error": str(error),
                "seconds": seconds,
                "failed_sources": list(error.failed) if isinstance(error, FetchError) else [],
                "unreachable": self._fetcher.unreachable[:MAX_REASON],
            }
        )
        return self._status


STAGING = Staging()
