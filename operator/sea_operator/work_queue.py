"""The work queue, and the workers that run its passes while this process may act.

Keys have due times; each is in at most one pass at a time, and additions coalesce.

A key added ten times runs once. A key added during its pass runs once more afterwards. An error
puts a key back with a growing delay. Nothing but an explicit "gone" removes a key for good.

Two priorities: keys with an event (`add`) go before keys whose timer has expired (`done`,
`failed`), so that polling thousands of jobs doesn't delay the one that changed.
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from sea_operator.errors import ConflictError, NotLeadingError

log = logging.getLogger(__name__)

K = TypeVar("K")

MAX_EVENTS_IN_A_ROW = 8
"""After these a due poll goes first: a storm of events must not stop the polls, which move a job
from stage to stage."""

# Ends a hang, not a slow pass: each of its requests ends after 3 or 10 s.
PASS_TIMEOUT_SECONDS = 120.0
CONFLICT_SECONDS = 0.2
"""After a pass that met a newer state of its job."""
MAX_PASSES = 1024
"""At one time. Most of them wait for a coordinator and need nothing else meanwhile; those that talk
to the API server are bounded by `observe.Sources.slots`."""
EVENT_SHARE = 4
"""One pass of this many is reserved for events: coordinators that don't answer must not occupy all
of them."""


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


@dataclass
class WorkQueue(Generic[K]):
    """Not thread-safe: lives in one event loop. Times are of `clock`, in seconds."""

    clock: Callable[[], float]
    random: Callable[[], float]
    backoff: Backoff = field(default_factory=Backoff)
    gap: float = 0.1
    """Least time between two starts of one key: a storm of events is one pass."""
    _due: dict[K, Due] = field(default_factory=dict)
    _events: list[tuple[float, int, K]] = field(default_factory=list)
    _polls: list[tuple[float, int, K]] = field(default_factory=list)
    _running: set[K] = field(default_factory=set)
    _started: dict[K, float] = field(default_factory=dict)
    _failures: dict[K, int] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _count: int = 0
    _in_a_row: int = 0

    def add(self, key: K) -> None:
        """Something happened: wants a pass as soon as possible."""
        # Counted from the last start, not from the last event: a steady
        # stream can't postpone a pass.
        earliest = self._started.get(key, float("-inf")) + self.gap
        self._schedule(key, Due(max(self.clock(), earliest), event=True))

    def done(self, key: K, after: float | None) -> None:
        """A pass succeeded; the next one is due in `after` seconds, None forgets the key."""
        self._running.discard(key)
        self._failures.pop(key, None)
        if after is not None:
            self._schedule(key, Due(self.clock() + after, event=False))
        self._wake(key)
        # An event during the last pass of a deleted job: a successor of the same name may exist.
        if after is None and key not in self._due:
            self._started.pop(key, None)

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
        now = self.clock()
        heads = [self._head(event=True)]
        if polls:
            poll_turn = self._in_a_row >= MAX_EVENTS_IN_A_ROW
            heads.insert(0 if poll_turn else 1, self._head(event=False))
        for head in heads:
            if head is not None and head[0] <= now:
                return self._start(head[1], now), None
        waits = [head[0] - now for head in heads if head is not None]
        return None, min(waits, default=None)

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

    def _start(self, key: K, now: float) -> tuple[K, bool]:
        event = self._due.pop(key).event
        self._in_a_row = self._in_a_row + 1 if event else 0
        self._running.add(key)
        self._started[key] = now
        return key, event


class Gate(Protocol):
    """Opens while this process may act."""

    async def wait(self) -> object: ...


class Workers(Generic[K]):
    """Bounds the passes at one time.

    One task takes keys from the queue and starts a task per pass. If each slot were a task that
    waits at the queue, every event would wake all of them.
    """

    def __init__(
        self,
        queue: WorkQueue[K],
        reconcile: Callable[[K], Awaitable[float | None]],
        gate: Gate,
        size: int = MAX_PASSES,
    ) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._gate = gate
        self._slots = asyncio.Semaphore(size)
        self._max_polls = max(1, size - size // EVENT_SHARE)
        self._polls = 0

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._gate.wait()
                # Before `get`: a key that was taken counts as running, and
                # must have a slot to run in.
                await self._slots.acquire()
                key, event = await self._queue.get(lambda: self._polls < self._max_polls)
                # No `await` from here to the task: asyncio can't cancel in
                # between and lose the key.
                self._polls += not event
                group.create_task(self._in_slot(key, event=event))

    async def _in_slot(self, key: K, *, event: bool) -> None:
        try:
            # Asked again: the lease may have been lost while the queue was empty.
            await self._gate.wait()
            await self._attempt(key)
        finally:
            self._polls -= not event
            self._slots.release()

    async def _attempt(self, key: K) -> None:
        """Puts the key back whatever the pass raises."""
        try:
            async with asyncio.timeout(PASS_TIMEOUT_SECONDS):
                after = await self._reconcile(key)
        # Normal in a race with an edit or a new leader: no failure, so no growing delay.
        except (ConflictError, NotLeadingError) as error:
            log.info("pass given up, next soon: %s", error, extra={"job": _text(key)})
            self._queue.done(key, CONFLICT_SECONDS)
        # CancelledError isn't an Exception: at shutdown the key stays out, and the process ends.
        except Exception:
            delay = self._queue.failed(key)
            log.exception("pass failed, next in %.1f s", delay, extra={"job": _text(key)})
        else:
            self._queue.done(key, after)


def _text(key: object) -> str:
    """`namespace/name` in logs."""
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
