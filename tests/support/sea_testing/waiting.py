"""Waits for conditions. A deadline only ends a hang: no test may need a machine to be quick."""

import time
from collections.abc import Callable
from typing import Any

HANG_S = 600.0
"""After which something counts as hung; far beyond what the slowest of machines takes."""


def wait_for(
    what: str, condition: Callable[[], Any], seconds: float = HANG_S, every: float = 0.02
) -> Any:
    """The first true value of the condition; fails the test with `what` when there is none."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(every)
    return found
