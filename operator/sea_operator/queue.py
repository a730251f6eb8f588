"""The work queue: keys with due times, each in at most one pass at a time, coalescing.

A key added ten times runs once. A key added during its pass runs once more afterwards. An error
puts a key back with a growing delay. Nothing but an explicit "gone" removes a key for good.
"""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K")


@dataclass(frozen=True)
class Backoff:
    """Delays after errors: base, twice that, ... up to a bound, spread by a random factor."""

    base: float = 0.5
    most: float = 60.0

    def delay(self, failures: int, random: float) -> float:
        """Seconds before attempt `failures` + 1; `random` in [0, 1) spreads by +-25%."""
        exponential = self.base * 2.0 ** min(failures - 1, 30)
        return float(min(self.most, exponential) * (0.75 + 0.5 * random))


@dataclass
class WorkQueue(Generic[K]):
    """Not thread-safe: lives in one event loop. Times are of `clock`, in seconds."""

    clock: Callable[[], float]
    random: Callable[[], float]
    backoff: Backoff = field(default_factory=Backoff)
    gap: float = 0.1
    """Least time between two starts of one key: a storm of events is one pass."""
    _due: dict[K, float] = field(default_factory=dict)
    _heap: list[tuple[float, int, K]] = field(default_factory=list)
    _running: set[K] = field(default_factory=set)
    _started: dict[K, float] = field(default_factory=dict)
    _failures: dict[K, int] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _count: int = 0

    def add(self, key: K) -> None:
        """Wants a pass as soon as possible."""
        earliest = self._started.get(key, float("-inf")) + self.gap
        self._schedule(key, max(self.clock(), earliest))

    def done(self, key: K, after: float | None) -> None:
        """A pass ended well and wants the next one `after` seconds; None forgets the key."""
        self._running.discard(key)
        self._failures.pop(key, None)
        if after is not None:
            self._schedule(key, self.clock() + after)
        self._wake(key)
        if after is None and key not in self._due:
            self._started.pop(key, None)

    def failed(self, key: K) -> float:
        """A pass raised; returns the delay until the next attempt."""
        self._running.discard(key)
        self._failures[key] = self._failures.get(key, 0) + 1
        delay = self.backoff.delay(self._failures[key], self.random())
        self._due.pop(key, None)
        self._schedule(key, self.clock() + delay)
        return delay

    async def get(self) -> K:
        """The next due key, marked as running until `done` or `failed`."""
        while True:
            key, wait = self._next()
            if key is not None:
                return key
            self._changed.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _schedule(self, key: K, due: float) -> None:
        """The earlier of two wishes wins."""
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._push(key, due)

    def _wake(self, key: K) -> None:
        """Wishes that came during the pass were set aside; now they count."""
        if key in self._due:
            self._push(key, self._due[key])

    def _push(self, key: K, due: float) -> None:
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, key))
        self._changed.set()

    def _next(self) -> tuple[K | None, float | None]:
        """A due key, or how long to wait for one."""
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) != due or key in self._running:
                heapq.heappop(self._heap)
                continue
            now = self.clock()
            if due > now:
                return None, due - now
            heapq.heappop(self._heap)
            self._start(key, now)
            return key, None
        return None, None

    def _start(self, key: K, now: float) -> None:
        del self._due[key]
        self._running.add(key)
        self._started[key] = now
