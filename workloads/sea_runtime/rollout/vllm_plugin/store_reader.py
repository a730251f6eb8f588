"""Reads a shard's copy in the object store, in as few requests as that takes.

What is adjacent in the object is asked for together, also where it belongs elsewhere in memory: a
worker's buffer is in the order of its parameters, the object in that of the trainer. Used by
`delta_fetch`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Protocol

import torch

from sea_runtime.parallel.regions import Run
from sea_runtime.transport.sources import Source

MAX_GAP = 256 << 10
"""Bytes between two pieces that are read along rather than asked for separately."""
MAX_REQUEST = 64 << 20
"""Bytes that are held at a time before they are put where they belong."""
# Shorter than a client's default of 90 s: after a failure the updater asks for a newer version,
# which is better than this one.
STORE_RETRY_TIMEOUT_SECONDS = 60.0


class Store(Protocol):
    """What is used of `sea_runtime.store.s3.ObjectStore`."""

    def get(self, url: str) -> bytes: ...

    def read_into(self, url: str, out: memoryview, start: int = 0) -> int: ...


@cache
def object_store() -> Store:
    """This process's client; waits out short outages. Not made where nothing is read from it."""
    from sea_runtime.store.s3 import ObjectStore

    return ObjectStore(retry_timeout=STORE_RETRY_TIMEOUT_SECONDS)


class ObjectStoreReader:
    """A `fetch.Reader` of shards' copies."""

    def __init__(self, store: Callable[[], Store] = object_store) -> None:
        self._store = store

    def begin(self, source: Source, runs: Sequence[Run], out: torch.Tensor) -> Callable[[], None]:
        return lambda: self._read(source.name, runs, out)

    def _read(self, url: str, runs: Sequence[Run], out: torch.Tensor) -> None:
        for group in requests(runs):
            first, last = group[0], group[-1]
            if len(group) == 1:
                self._fill(url, first.remote, out[first.local : first.local + first.nbytes])
                continue
            held = torch.empty(last.remote + last.nbytes - first.remote, dtype=torch.uint8)
            self._fill(url, first.remote, held)
            for run in group:
                at = run.remote - first.remote
                out[run.local : run.local + run.nbytes] = held[at : at + run.nbytes]

    def _fill(self, url: str, start: int, part: torch.Tensor) -> None:
        done = self._store().read_into(url, part.numpy().data, start=start)
        if done != part.numel():
            raise OSError(
                f"{url} has {start + done} bytes, expected at least {start + part.numel()}."
            )


def requests(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Runs, by `remote`, that one request brings."""
    group: list[Run] = []
    for run in runs:
        if group:
            gap = run.remote - group[-1].remote - group[-1].nbytes
            whole = run.remote + run.nbytes - group[0].remote
            if not 0 <= gap <= MAX_GAP or whole > MAX_REQUEST:
                yield group
                group = []
        group.append(run)
    if group:
        yield group
