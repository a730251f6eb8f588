"""Runs passes: so many at a time, never two of one job, no exception lost, only while we lead."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from sea_operator.kube.errors import ConflictError, NotLeadingError
from sea_operator.queue import WorkQueue

log = logging.getLogger(__name__)

K = TypeVar("K")

PASS_TIMEOUT_SECONDS = 120.0


class Gate(Protocol):
    """Opens while this process is the leader."""

    async def wait(self) -> object: ...


class Workers(Generic[K]):
    """A fixed pool: its size is the bound on passes at one time."""

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
        self._size = size

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._size):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            await self._gate.wait()
            key = await self._queue.get()
            await self._gate.wait()
            await self._attempt(key)

    async def _attempt(self, key: K) -> None:
        """Whatever a pass raises, its key comes back."""
        try:
            async with asyncio.timeout(PASS_TIMEOUT_SECONDS):
                after = await self._reconcile(key)
        except (ConflictError, NotLeadingError) as error:
            log.info("pass given up, next soon: %s", error, extra={"job": key})
            self._queue.failed(key)
        except Exception:
            delay = self._queue.failed(key)
            log.exception("pass failed, next in %.1f s", delay, extra={"job": key})
        else:
            self._queue.done(key, after)
