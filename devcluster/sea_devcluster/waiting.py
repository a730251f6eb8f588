"""Waiting for a condition with a deadline: the only place in this package that sleeps."""

import time
from collections.abc import Callable

from sea_devcluster.errors import StartError


def wait_until(
    condition: Callable[[], bool],
    *,
    what: str,
    timeout: float,
    interval: float = 0.05,
    check: Callable[[], None] | None = None,
) -> float:
    """Polls `condition` until it holds.

    Args:
        condition: Cheap and free of effects.
        what: Ends the sentence "Waited 30 s for ...".
        timeout: Seconds.
        interval: Seconds between two looks.
        check: Called before each look; raises if waiting has become pointless.

    Returns:
        Seconds waited.

    Raises:
        StartError: The condition did not hold in time.
    """
    began = time.monotonic()
    while True:
        if check is not None:
            check()
        if condition():
            return time.monotonic() - began
        if time.monotonic() - began > timeout:
            raise StartError(f"Waited {timeout:.0f} s for {what}, in vain.")
        time.sleep(interval)
