"""Waits for a condition with a deadline."""

import logging
import time
from collections.abc import Callable

from sea_devcluster.errors import StartError

log = logging.getLogger(__name__)

START_TIMEOUT_SECONDS = 300.0
"""For a component to become ready: seconds, or minutes on two cores that compile at the same time.
A component that has ended is not waited for: `check` raises at once."""
NOTE_SECONDS = 15.0
"""How often to log what is being waited for."""


def wait_until(
    condition: Callable[[], bool],
    *,
    what: str,
    timeout: float,
    interval: float = 0.05,
    check: Callable[[], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> float:
    """Polls `condition` until it is true; logs every 15 s that it still waits.

    Args:
        condition: Cheap and without side effects.
        what: Ends the sentence "Waited 30 s for ...".
        timeout: Seconds.
        interval: Seconds between two checks.
        check: Called before each check; raises if the condition can't become true any more.
        clock: Monotonic seconds.
        pause: Sleeps.

    Returns:
        Seconds waited.

    Raises:
        StartError: The condition did not become true in time.
    """
    began = clock()
    noted = began
    while True:
        if check is not None:
            check()
        # After `check`: a stranger's answer on a dead component's port must not count.
        if condition():
            return clock() - began
        now = clock()
        if now - began > timeout:
            raise StartError(f"Waited {timeout:.0f} s for {what}, then gave up.")
        if now - noted >= NOTE_SECONDS:
            noted = now
            log.warning("Still waiting for %s: %.0f s of %.0f s.", what, now - began, timeout)
        pause(interval)
