"""How long a caller waits between two attempts to reach the coordinator."""

import random
from collections.abc import Iterator

FIRST_DELAY_S = 0.1
LARGEST_DELAY_S = 2.0
POLL_MARGIN_S = 5.0


def delays() -> Iterator[float]:
    """Seconds: doubling up to 2, spread by 50 % so that pods don't come back in step."""
    delay = FIRST_DELAY_S
    while True:
        yield delay * random.uniform(0.75, 1.25)  # noqa: S311 (spreads load, guards nothing)
        delay = min(2 * delay, LARGEST_DELAY_S)


def read_timeout(timeout: float, wait: float) -> float:
    """Seconds to wait for an answer that the server may hold back for `wait` seconds."""
    return max(timeout, wait + POLL_MARGIN_S)


def gave_up(call: object, url: str, patience: float, last: object) -> str:
    return (
        f"The coordinator at {url} did not answer '{call}' for {patience:.0f} s: {last}. "
        "Look at the logs of its pod."
    )
