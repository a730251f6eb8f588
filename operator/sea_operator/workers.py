"""The workers: run the passes of the queue's keys while this process may act."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from sea_operator.errors import BusyError, ConflictError, NotLeadingError, WorkersStuckError
from sea_operator.work_queue import WorkQueue

log = logging.getLogger(__name__)

K = TypeVar("K")

# Ends a hang, not a slow pass: each of its requests ends after 3 or 10 s.
PASS_TIMEOUT_SECONDS = 120.0
CONFLICT_SECONDS = 0.2
"""After a pass that met a newer state of its job."""
BUSY_SECONDS = 2.0
"""After a pass that was one too many of its namespace."""
STUCK_SECONDS = 180.0
"""Longest time without the start or end of a pass while some are due; more than a pass takes."""
LOOK_SECONDS = 10.0
MAX_PASSES = 1024
"""At one time. Most of them wait for a coordinator and need nothing else meanwhile; those that talk
to the API server are bounded by `observe.Sources.slots`."""
EVENT_SHARE = 4
"""One pass of this many is reserved for events: coordinators that don't answer must not occupy all
of them."""


class Gate(Protocol):
    """Opens while this process may act."""

    @property
    def leads(self) -> bool:
        """Whether passes are this process's to make, even if it can't make them yet."""

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
        ended: Callable[[str, float], None] = lambda outcome, seconds: None,
    ) -> None:
        """`ended` is called after each pass with its outcome and its seconds."""
        self._queue = queue
        self._reconcile = reconcile
        self._gate = gate
        self._ended = ended
        self._slots = asyncio.Semaphore(size)
        self._max_polls = max(1, size - size // EVENT_SHARE)
        self._polls = 0
        self._progress = queue.clock()
        """When a pass last began or ended, or none had to."""

    async def run(self) -> None:
        """Runs until cancelled. Raises `WorkersStuckError`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
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

    async def _watch(self) -> None:
        """Ends the workers that get nowhere: a leader that serves no pass must not lead."""
        while True:
            self.require_progress()
            await asyncio.sleep(LOOK_SECONDS)

    def require_progress(self) -> None:
        """Raises `WorkersStuckError` if nothing has moved for too long."""
        now = self._queue.clock()
        if not (self._gate.leads and self._queue.has_work):
            self._progress = now
        if now - self._progress > STUCK_SECONDS:
            raise WorkersStuckError(
                f"No pass has begun or ended for {now - self._progress:.0f} s although jobs wait "
                "for one; the operator ends, so that its successor starts from a clean slate."
            )

    async def _in_slot(self, key: K, *, event: bool) -> None:
        try:
            # Asked again: the lease may have been lost while the queue was empty.
            await self._gate.wait()
            self._progress = began = self._queue.clock()
            outcome = await self._attempt(key)
            self._progress = self._queue.clock()
            self._ended(outcome, self._progress - began)
        finally:
            self._polls -= not event
            self._slots.release()

    async def _attempt(self, key: K) -> str:
        """Puts the key back whatever the pass raises; how the pass ended, in a word."""
        try:
            async with asyncio.timeout(PASS_TIMEOUT_SECONDS):
                after = await self._reconcile(key)
        # Normal in a race with an edit or a new leader: no failure, so no growing delay.
        except (ConflictError, NotLeadingError) as error:
            log.info("pass given up, next soon: %s", error, extra={"job": _text(key)})
            self._queue.done(key, CONFLICT_SECONDS)
            return "conflict"
        except BusyError as error:
            log.info("pass put off: %s", error, extra={"job": _text(key)})
            self._queue.done(key, BUSY_SECONDS)
            return "busy"
        # CancelledError isn't an Exception: at shutdown the key stays out, and the process ends.
        except Exception:
            delay = self._queue.failed(key)
            log.exception("pass failed, next in %.1f s", delay, extra={"job": _text(key)})
            return "failed"
        self._queue.done(key, after)
        return "done"


def _text(key: object) -> str:
    """`namespace/name` in logs."""
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
