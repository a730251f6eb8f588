"""Peak memory of the whole demo: a thread that adds up its processes every few seconds."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType

import psutil

SAMPLE_SECONDS = 3.0


@dataclass(frozen=True)
class Usage:
    """Peaks in bytes: resident pages counted per process, and shared pages counted once (PSS)."""

    rss: int = 0
    pss: int = 0

    def peak(self, other: "Usage") -> "Usage":
        """The larger of each value."""
        return Usage(max(self.rss, other.rss), max(self.pss, other.pss))


class MemorySampler:
    """Context manager that samples memory while it is open; `peak` holds the largest sums."""

    def __init__(self, roots: Callable[[], Iterable[int]]) -> None:
        self.peak = Usage()
        self._roots = roots
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-sampler", daemon=True)

    def __enter__(self) -> "MemorySampler":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.peak = self.peak.peak(usage(self._roots()))


def usage(roots: Iterable[int]) -> Usage:
    """Memory of these processes and all their descendants."""
    seen: dict[int, psutil.Process] = {}
    for pid in roots:
        try:
            root = psutil.Process(pid)
            seen |= {process.pid: process for process in [root, *root.children(recursive=True)]}
        except psutil.NoSuchProcess:
            continue
    rss = pss = 0
    for process in seen.values():
        try:
            info = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        rss, pss = rss + info.rss, pss + info.pss
    return Usage(rss, pss)
