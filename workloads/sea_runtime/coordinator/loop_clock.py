"""A clock that stands still while the event loop does: silence counts only while we could listen.

A disk that takes half a minute for a commit, or a machine that is paused, keeps every heartbeat in
its socket: when the loop goes on, `expire` may run before they are read, and would take the leases
of all workers back although none has fallen silent (560 living workers, measured on a slow disk).
"""

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
MAX_STEP_SECONDS = 1.0
"""Most that counts between two looks at the clock."""
LATE_SECONDS = 5.0
"""A standstill that is worth a line in the log."""


class LoopClock:
    """Seconds during which the event loop ran.

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
