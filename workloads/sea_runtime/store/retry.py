"""Waiting out an outage of the object store: back-off until a deadline.

boto3's own retries are off (see `store.s3`): they can't tell a conditional write that was repeated
from one that lost, and they give up within seconds.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from sea_data.object_store import StoreUnavailableError
from sea_runtime.store.botocore_errors import is_transient, translate

log = logging.getLogger(__name__)

Result = TypeVar("Result")

FIRST_DELAY_S = 0.2
LARGEST_DELAY_S = 5.0


def delays(jitter: Callable[[], float]) -> Iterator[float]:
    """Seconds between attempts: doubling, spread by 50 % so that pods don't come back in step."""
    delay = FIRST_DELAY_S
    while True:
        yield delay * (0.75 + 0.5 * jitter())
        delay = min(2 * delay, LARGEST_DELAY_S)


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait for a store that does not answer, in seconds."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = field(default=random.random)

    def call(self, what: str, attempt: Callable[[int], Result]) -> Result:
        """Runs `attempt(number)` until it succeeds, fails for good, or the deadline.

        Raises:
            StoreUnavailableError: still no usable answer after `seconds`.
            StoreError: a failure that waiting does not mend.
        """
        deadline = self.clock() + self.seconds
        for number, delay in enumerate(delays(self.jitter)):
            try:
                return attempt(number)
            except Exception as error:
                if not is_transient(error):
                    raise translate(error, what) from error
                if self.clock() + delay > deadline:
                    raise StoreUnavailableError(
                        f"The object store did not answer '{what}' for {self.seconds:.0f} s: "
                        f"{error}. Check that it runs and that this pod can reach it."
                    ) from error
                log.warning("%s: %s; attempt %d follows in %.1f s", what, error, number + 2, delay)
                self.sleep(delay)
        raise AssertionError("delays() never ends")
