"""The work queue: keys with due times, each in at most one pass at a time; additions coalesce.

A key added ten times runs once. A key added during its pass runs once more afterwards. An error
puts a key back with a growing delay. Nothing but an explicit "gone" removes a key for good.

Two priorities: keys with an event (`add`) go before keys whose timer has expired (`done`,
`failed`), so that polling thousands of jobs doesn't delay the one that changed.
"""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K")

MAX_EVENTS_IN_A_ROW = 8
"""After these a due poll goes first: a storm of events must not stop the polls, which move a job
from stage to stage."""

MAX_POLLS_PER_SECOND = 300.0
"""Of all keys together: thousands of jobs that are polled each second would take a whole core, and
then events wait however early their turn comes. With more jobs each is polled more rarely."""
POLL_BURST = 30.0
"""Polls that may start at once after a calm."""
MAX_GAP_SECONDS = 1.0
"""Least time between two passes of one key that events bring, once a storm of them goes on."""
CALM_SECONDS = 2.0
"""Time without a pass that an event brought, after which the storm is over."""
URGENT_SECONDS = 0.5
"""A pass that comes so soon acts on what the one before it did: it goes with the events."""


@dataclass(frozen=True)
class Backoff:
    """Delays after errors: base, twice that, ... up to a bound, spread by a random factor."""

    base: float = 0.5
    most: float = 10.0

    def delay(self, failures: int, random: float) -> float:
        """Seconds before attempt `failures` + 1; `random` in [0, 1) spreads by +-25%."""
        exponential = self.base * 2.0 ** min(failures - 1, 30)
        return float(min(self.most, exponential) * (0.75 + 0.5 * random))


@dataclass(frozen=True)
class Due:
    """When a key wants a pass, and which heap it waits in."""

    time: float
    event: bool


@dataclass(frozen=True)
class _Storm:
    """The last pass over a key that an event brought."""

    started: float
    gap: float
    """Seconds until the next one may start."""


@dataclass
class WorkQueue(Generic[K]):
    """Not thread-safe: lives in one event loop. Times are of `clock`, in seconds."""

    clock: Callable[[], float]
    random: Callable[[], float]
    backoff: Backoff = field(default_factory=Backoff)
    gap: float = 0.25
    """Time from a pass that the first event after a calm brings at once to the next one. It doubles
    with each pass of a storm, up to `MAX_GAP_SECONDS`: pods of a job come and go together, and each
    change of their numbers is a status write. (kube-controller-manager collects a Job's pods for a
    second.)"""
    first_gap: float = MAX_GAP_SECONDS
    """The same after a key's first pass of all: it makes a job's children, whose pods come now."""
    _due: dict[K, Due] = field(default_factory=dict)
    _events: list[tuple[float, int, K]] = field(default_factory=list)
    _polls: list[tuple[float, int, K]] = field(default_factory=list)
    _running: set[K] = field(default_factory=set)
    _storms: dict[K, _Storm] = field(default_factory=dict)
    _failures: dict[K, int] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _count: int = 0
    _in_a_row: int = 0
    _paced: float = float("-inf")
    """When the next poll would start if all came at `MAX_POLLS_PER_SECOND`."""

    def add(self, key: K) -> None:
        """Something happened: wants a pass as soon as possible."""
        now, storm = self.clock(), self._storms.get(key)
        # Counted from the last start, not from the last event: a steady
        # stream can't postpone a pass.
        earliest = storm.started + storm.gap if storm else now
        self._schedule(key, Due(max(now, earliest), event=True))

    def done(self, key: K, after: float | None) -> None:
        """A pass succeeded; the next one is due in `after` seconds, None forgets the key."""
        self._running.discard(key)
        self._failures.pop(key, None)
        if after is not None:
            urgent = 0.0 < after <= URGENT_SECONDS
            self._schedule(key, Due(self.clock() + after, event=urgent))
        self._wake(key)
        # An event during the last pass of a deleted job: a successor of the same name may exist.
        if after is None and key not in self._due:
            self._storms.pop(key, None)

    def failed(self, key: K) -> float:
        """A pass raised; returns the delay until the next attempt."""
        self._running.discard(key)
        self._failures[key] = self._failures.get(key, 0) + 1
        delay = self.backoff.delay(self._failures[key], self.random())
        # An event that arrived during the pass would win over the backoff; the pass that failed may
        # have caused it. Events that arrive from now on do run the key at once.
        self._due.pop(key, None)
        self._schedule(key, Due(self.clock() + delay, event=False))
        return delay

    @property
    def has_work(self) -> bool:
        """Whether a key is due or in a pass."""
        return bool(self._running) or self._next_due(polls=True) is not None

    @property
    def lateness(self) -> float:
        """Seconds that the first of the due keys has waited; 0 if none is due."""
        now = self.clock()
        heads = (self._head(event=True), self._head(event=False))
        return max([0.0, *(now - head[0] for head in heads if head is not None)])

    async def get(self, may_poll: Callable[[], bool] = lambda: True) -> tuple[K, bool]:
        """The next due key and whether an event brought it; running until `done` or `failed`.

        `may_poll`: asked at each end of a pass whether a key without an event may go.
        """
        while True:
            found, wait = self._next(polls=may_poll())
            if found is not None:
                return found
            # No `await` between `_next` and here: a push can't fall in
            # between and be cleared unseen.
            self._changed.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _schedule(self, key: K, due: Due) -> None:
        """The earlier of two due times wins, and an event stays one."""
        old = self._due.get(key)
        if old is not None:
            due = Due(min(old.time, due.time), old.event or due.event)
        if due != old:
            self._due[key] = due
            self._push(key, due)

    def _wake(self, key: K) -> None:
        """Makes what was scheduled during the pass visible again."""
        # `_head` dropped the entry while the key ran: a heap entry is needed again.
        if key in self._due:
            self._push(key, self._due[key])
        self._changed.set()

    def _push(self, key: K, due: Due) -> None:
        self._count += 1
        heap = self._events if due.event else self._polls
        # The counter keeps equal times in order of arrival and keys out of the comparison.
        heapq.heappush(heap, (due.time, self._count, key))
        self._changed.set()

    def _next(self, *, polls: bool) -> tuple[tuple[K, bool] | None, float | None]:
        """A due key, or how long to wait for one."""
        due = self._next_due(polls=polls)
        if due is not None:
            return self._start(due), None
        now = self.clock()
        heads = [self._head(event=True), *([self._next_poll()] if polls else ())]
        return None, min((head[0] - now for head in heads if head is not None), default=None)

    def _next_due(self, *, polls: bool) -> K | None:
        """The key whose turn it is."""
        now = self.clock()
        heads = [self._head(event=True)]
        if polls:
            poll_turn = self._in_a_row >= MAX_EVENTS_IN_A_ROW
            heads.insert(0 if poll_turn else 1, self._next_poll())
        return next((head[1] for head in heads if head is not None and head[0] <= now), None)

    def _next_poll(self) -> tuple[float, K] | None:
        """The first poll, not before the pace of all of them allows it."""
        head = self._head(event=False)
        if head is None:
            return None
        return max(head[0], self._paced - POLL_BURST / MAX_POLLS_PER_SECOND), head[1]

    def _head(self, *, event: bool) -> tuple[float, K] | None:
        """The first of a heap that still holds: rescheduled keys leave old entries behind."""
        heap = self._events if event else self._polls
        while heap:
            time, _, key = heap[0]
            if self._due.get(key) == Due(time, event) and key not in self._running:
                return time, key
            # Old entries are removed here, at the head; searching the heap at
            # each change would be O(n).
            heapq.heappop(heap)
        return None

    def _start(self, key: K) -> tuple[K, bool]:
        event = self._due.pop(key).event
        self._in_a_row = self._in_a_row + 1 if event else 0
        now = self.clock()
        if event:
            self._storms[key] = self._next_storm(key, now)
        else:
            self._paced = max(self._paced, now) + 1.0 / MAX_POLLS_PER_SECOND
        self._running.add(key)
        return key, event

    def _next_storm(self, key: K, now: float) -> _Storm:
        before = self._storms.get(key)
        if before is None:
            return _Storm(now, self.first_gap)
        if now - before.started >= CALM_SECONDS:
            return _Storm(now, self.gap)
        return _Storm(now, min(2 * before.gap, MAX_GAP_SECONDS))
