"""Long polls without busy waiting: a handler tries, sleeps until a bell rings, tries again."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class Bell:
    """Wakes everybody who waits, whenever something they wait for may have changed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Returns at the next ring or after `seconds`."""
        try:
            await asyncio.wait_for(self._event.wait(), max(0.0, seconds))
        except TimeoutError:
            return

    async def until(self, attempt: Callable[[], Result | None], seconds: float) -> Result | None:
        """The first result that isn't None, tried at once and after each ring; None in the end."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            event, got = self._event, attempt()
            left = deadline - loop.time()
            if got is not None or left <= 0:
                return got
            try:
                await asyncio.wait_for(event.wait(), left)
            except TimeoutError:
                return attempt()
