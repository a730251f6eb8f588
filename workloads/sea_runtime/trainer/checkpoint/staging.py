"""Host memory for the copy of a rank's state, allocated once per stage.

With it, training waits only for the copy. Without (`maxStagingBytes`, or too little memory in the
pod), training waits while the state is read and uploaded part by part: slower, in bounded memory.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import torch
from torch import Tensor

from sea_runtime.planner.host_memory import pinned_bytes
from sea_runtime.store.multipart import part_bytes
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer import background
from sea_runtime.trainer.checkpoint.index import RankIndex, checksums
from sea_runtime.trainer.checkpoint.state import RankState
from sea_runtime.trainer.device import has_cuda

log = logging.getLogger(__name__)
USABLE = 0.9
"""Share of the free memory that copies may take."""
_CGROUP, _MEMINFO = Path("/sys/fs/cgroup"), Path("/proc/meminfo")


def available_memory(cgroup: Path = _CGROUP, meminfo: Path = _MEMINFO) -> int:
    """Bytes that this pod may still use: of the machine, and within the container's limit."""
    lines = (line.split() for line in meminfo.read_text().splitlines())
    free = next(int(line[1]) * 1024 for line in lines if line[0] == "MemAvailable:")
    limit = cgroup / "memory.max"
    if not limit.exists() or limit.read_text().strip() == "max":
        return free
    stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    # The kernel drops these pages before it kills anybody.
    used = int((cgroup / "memory.current").read_text()) - int(stat["inactive_file"])
    return min(free, int(limit.read_text()) - used)


def refusal(nbytes: int, limit: int, available: int, ranks: int, *, pinned: bool = False) -> str:
    """Why a state isn't copied, as a sentence; empty if it is. Pure.

    Args:
        limit: `maxStagingBytes`.
        available: bytes that the pod may still use.
        ranks: of the pod, each of which copies as much.
        pinned: for copies from a GPU.
    """
    taken = pinned_bytes(nbytes) if pinned else nbytes
    if nbytes > limit:
        return (
            f"The state of {nbytes} bytes exceeds checkpoint.maxStagingBytes ({limit}): training "
            "waits while a checkpoint is uploaded."
        )
    if taken * ranks > USABLE * available:
        return (
            f"{ranks} copies of {taken} bytes don't fit into the {available} bytes of memory that "
            "this pod has left: training waits while a checkpoint is uploaded. Raise the memory "
            "limit of the trainer's template, or spread the model over more pods."
        )
    return ""


class Staging:
    """Owns the buffer of one rank."""

    def __init__(self, ranks: int) -> None:
        self._ranks = ranks
        self._buffer: Future[Tensor] | None = None
        self._decided: tuple[int, int] | None = None

    def prepare(self, nbytes: int, limit: int) -> None:
        """Begins to allocate, or gives the memory back; does nothing if neither has changed."""
        if self._decided == (nbytes, limit):
            return
        self._decided, self._buffer = (nbytes, limit), None
        free = available_memory()
        why = refusal(nbytes, limit, free, self._ranks, pinned=has_cuda())
        if why:
            log.warning("%s", why)
        else:
            # Next to the first step: pinning takes seconds for each 10 GB.
            self._buffer = background.start("staging", lambda: _allocate(nbytes))

    def buffer(self) -> Tensor | None:
        """uint8; None if the state isn't copied."""
        if self._buffer is None:
            return None
        error = self._buffer.exception()
        # torch raises a RuntimeError for host memory that CUDA can't pin.
        if isinstance(error, MemoryError | RuntimeError):
            log.warning("No memory for the copy of the state: training waits instead. %s", error)
            self._buffer = None
            return None
        return self._buffer.result()


def _allocate(nbytes: int) -> Tensor:
    # zeros: touches all pages, so that the first copy is as fast as the others.
    return torch.zeros(nbytes, dtype=torch.uint8, pin_memory=has_cuda())


class StagedSave:
    """The bytes of one save of one rank: copied on construction, or read by `upload`."""

    def __init__(self, state: RankState, buffer: Tensor | None) -> None:
        self._state = state
        self._index = state.index()
        self._data: memoryview | None = None
        if buffer is not None:
            state.copy(buffer)
            self._data = buffer.numpy().data

    def upload(self, store: ObjectStore, url: str) -> RankIndex:
        """Writes the object; returns its index. Blocking; in any thread.

        Without a copy the state must not change meanwhile.
        """
        pieces: list[str] = []
        if self._data is not None:
            pieces += checksums(self._data)
            store.put_large(url, self._data, self._state.nbytes)
        else:
            store.put_large(url, lambda: self._parts(pieces), self._state.nbytes)
        return self._index.model_copy(update={"pieces": pieces})

    def _parts(self, pieces: list[str]) -> Iterator[memoryview]:
        # An upload that is repeated begins with the first part.
        pieces.clear()
        size = part_bytes(self._state.nbytes)
        for start in range(0, self._state.nbytes, size):
            part = torch.zeros(min(size, self._state.nbytes - start), dtype=torch.uint8)
            self._state.copy(part, start)
            data = part.numpy().data
            pieces += checksums(data)
            yield data
