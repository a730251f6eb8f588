"""Waiting for a condition with a deadline: the only place in this package that sleeps."""

import logging
import time
from collections.abc import Callable

from sea_devcluster.errors import StartError

log = logging.getLogger(__name__)

START_TIMEOUT_SECONDS = 300.0
"""For a component to become ready. It takes seconds; two cores that compile beside it take minutes.
Nobody waits for one that has ended: `check` tells that at once."""
NOTE_SECONDS = 15.0
"""How often a person is told what is being waited for."""


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
    """Polls `condition` until it holds; says every 15 s that it still waits.

    Args:
        condition: Cheap and free of effects.
        what: Ends the sentence "Waited 30 s for ...".
        timeout: Seconds.
        interval: Seconds between two looks.
        check: Called before each look; raises if waiting has become pointless.
        clock: Seconds that only grow.
        pause: Sleeps.

    Returns:
        Seconds waited.

    Raises:
        StartError: The condition did not hold in time.
    """
    began = clock()
    noted = began
    while True:
        if check is not None:
            check()
        if condition():
            return clock() - began
        now = clock()
        if now - began > timeout:
            raise StartError(f"Waited {timeout:.0f} s for {what}, in vain.")
        if now - noted >= NOTE_SECONDS:
            noted = now
            log.warning("Still waiting for %s: %.0f s of %.0f s.", what, now - began, timeout)
        pause(interval)
