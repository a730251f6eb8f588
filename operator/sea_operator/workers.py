"""Runs passes: a bounded number at a time, one per job, only while this process may act."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from sea_operator.errors import ConflictError, NotLeadingError
from sea_operator.queue import WorkQueue

log = logging.getLogger(__name__)

K = TypeVar("K")

# Ends a hang, not a slow pass: each of its requests ends after 3 or 10 s.
PASS_TIMEOUT_SECONDS = 120.0
EVENT_SHARE = 4
"""One slot of this many is reserved for events: polls of unreachable coordinators wait for seconds,
and must not occupy all slots."""


class Gate(Protocol):
    """Opens while this process may act."""

    async def wait(self) -> object: ...


class Workers(Generic[K]):
    """A fixed number of slots bounds the passes at one time.

    One task takes keys from the queue and starts a task per pass. If each slot were a task that
    waits at the queue, every event would wake all of them.
    """

    def __init__(
        self,
        queue: WorkQueue[K],
        reconcile: Callable[[K], Awaitable[float | None]],
        gate: Gate,
        size: int,
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
        # Normal in a race with an edit or a new leader, so no traceback and no error in the log.
        except (ConflictError, NotLeadingError) as error:
            log.info("pass given up, next soon: %s", error, extra={"job": _text(key)})
            self._queue.failed(key)
        # CancelledError isn't an Exception: at shutdown the key stays out, and the process ends.
        except Exception:
            delay = self._queue.failed(key)
            log.exception("pass failed, next in %.1f s", delay, extra={"job": _text(key)})
        else:
            self._queue.done(key, after)


def _text(key: object) -> str:
    """`namespace/name` in logs."""
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
