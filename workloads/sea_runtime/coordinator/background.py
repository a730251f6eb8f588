"""Waiting: background loops that repeat forever, long polls, and what wakes both.

A loop is a level-triggered pass over what is missing: a kill between any two of its steps costs
nothing but the repetition. A long poll tries, sleeps until it is notified, tries again. Silence is
measured by a clock that stands still while the event loop does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sea_api.errors import SeaError
from sea_data import urls
from sea_data.object_store import StoreError
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger.database import Ledger
from sea_runtime.coordinator.ledger.durability import copy_back
from sea_runtime.coordinator.ledger.trajectories import Files
from sea_runtime.coordinator.problems import Problems, Source
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
UPKEEP_SECONDS = 2.0
AFTER_ERROR_SECONDS = 3.0
TICK_SECONDS = 0.25
MAX_STEP_SECONDS = 1.0
"""Most that counts between two looks at the clock."""
LATE_SECONDS = 5.0
"""A standstill that is worth a line in the log."""

Result = TypeVar("Result")


class Notifier:
    """Wakes all waiters whenever something they wait for may have changed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        # Waiters hold the old event: each is woken once, and none misses a later one.
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Returns at the next notification or after `seconds`."""
        try:
            await asyncio.wait_for(self._event.wait(), max(0.0, seconds))
        except TimeoutError:
            return

    async def first(self, attempt: Callable[[], Result | None], seconds: float) -> Result | None:
        """The first result that isn't None, tried at once and after each notification.

        Returns:
            None if there is none within `seconds`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            # Before the attempt: a change right after it must wake us.
            event, found = self._event, attempt()
            left = deadline - loop.time()
            if found is not None or left <= 0:
                return found
            try:
                await asyncio.wait_for(event.wait(), left)
            except TimeoutError:
                # Once more: the change may have come together with the time-out.
                return attempt()


@dataclass(frozen=True)
class Notifiers:
    """One for each thing that is waited for."""

    leases: Notifier = field(default_factory=Notifier)
    batches: Notifier = field(default_factory=Notifier)
    tasks: Notifier = field(default_factory=Notifier)
    weights: Notifier = field(default_factory=Notifier)
    background: Notifier = field(default_factory=Notifier)

    def notify_all(self) -> None:
        for one in (self.leases, self.batches, self.tasks, self.weights, self.background):
            one.notify()


async def forever(source: Source, step: Callable[[], Awaitable[None]], problems: Problems) -> None:
    """Repeats a pass; one that fails is logged, reported and tried again."""
    while True:
        try:
            await step()
        # CancelledError isn't an Exception: a shutdown passes through both handlers.
        except SeaError as error:
            if problems.failed(source, error):
                log.warning("%s: %s", source.value, error)
            await asyncio.sleep(AFTER_ERROR_SECONDS)
        except Exception as error:
            log.exception("the pass over %s failed; it starts again", source.value)
            problems.failed(source, error)
            await asyncio.sleep(AFTER_ERROR_SECONDS)
        else:
            problems.passed(source)


class LoopClock:
    """Seconds during which the event loop ran: silence counts only while we could listen.

    A disk that takes half a minute for a commit, or a machine that is paused, keeps every heartbeat
    in its socket: when the loop goes on, `expire` may run before they are read, and would take the
    leases of all workers back although none has fallen silent (560 living workers, measured on a
    slow disk).

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen = clock()
        self._now = self._seen
        self._ticks = False

    def __call__(self) -> float:
        seen = self._clock()
        passed = seen - self._seen
        # Without `run` nobody looks often enough to tell a standstill from a pause between calls.
        self._now += min(passed, MAX_STEP_SECONDS) if self._ticks else passed
        self._seen = seen
        if self._ticks and passed > LATE_SECONDS:
            log.warning("the event loop stood still for %.1f s; no pod counts as silent", passed)
        return self._now

    async def run(self) -> None:
        """Looks at the clock several times per second, forever."""
        self._ticks = True
        try:
            while True:
                self()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            self._ticks = False


class StoreProbe:
    """Whether the object store answers, for `/readyz`.

    Args:
        store: a client that does not retry.
    """

    def __init__(self, job: Job, store: ObjectStore) -> None:
        self._job, self._store = job, store
        self.reachable = True

    async def look(self) -> None:
        """One request to the store, then a pause."""
        self.reachable = await asyncio.to_thread(self._answers)
        await asyncio.sleep(PROBE_SECONDS)

    def _answers(self) -> bool:
        known = self._job.known
        # Before the first spec there is no address to ask.
        if known is None:
            return True
        try:
            # Any key will do: "not found" is an answer, and it costs no listing.
            self._store.exists(urls.join(known.run_url, "base", "READY.json"))
        except StoreError as error:
            log.warning("the object store does not answer: %s", error)
            return False
        return True


class Upkeep:
    """The ledger's volume: its log is copied back, and files that no row names go."""

    def __init__(self, ledger: Ledger, files: Files) -> None:
        self._ledger, self._files = ledger, files

    async def look(self) -> None:
        """One pass, then a pause."""
        if self._ledger.available:
            db = self._ledger.db
            await asyncio.to_thread(copy_back, db.path)
            # Asked again: the ledger may have gone back to a checkpoint meanwhile.
            if self._ledger.available and self._ledger.db is db:
                await self._files.sweep(db)
        await asyncio.sleep(UPKEEP_SECONDS)
