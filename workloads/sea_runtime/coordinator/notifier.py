"""Long polls without busy waiting: a handler tries, sleeps until it is notified, tries again."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

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
