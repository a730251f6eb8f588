"""The parts of a retry that chat endpoints, the object store and the coordinator's clients share.

Each passes its attempt to tenacity's `Retrying` or `AsyncRetrying` with these. The type of an error
decides if it is retried: `SeaError.permanent`.
"""

import random
import time
from collections.abc import Callable

from tenacity import RetryCallState, retry_if_exception, wait_exponential

from sea_api.errors import SeaError


def is_transient(error: BaseException) -> bool:
    """True for an error that may pass by itself."""
    return isinstance(error, SeaError) and not error.permanent


IF_TRANSIENT = retry_if_exception(is_transient)
"""For `retry=`. With `reraise=True` the last error is raised as it is."""


def backoff(
    first_s: float, max_s: float, jitter: Callable[[], float] = random.random
) -> Callable[[RetryCallState], float]:
    """For `wait=`: seconds that double from `first_s` to `max_s`, spread by 25 % either way.

    The spread keeps clients that failed together from coming back together.
    """
    exponential = wait_exponential(multiplier=first_s, max=max_s)
    return lambda state: exponential(state) * (0.75 + 0.5 * jitter())


def stop_at(
    deadline: float, clock: Callable[[], float] = time.monotonic
) -> Callable[[RetryCallState], bool]:
    """For `stop=`: gives up if the next attempt would begin after `deadline`, as `clock` counts."""
    return lambda state: clock() + state.upcoming_sleep > deadline
