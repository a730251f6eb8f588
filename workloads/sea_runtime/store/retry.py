"""Waits out an outage of the object store: repeats a request with back-off until a deadline.

boto3's own retries are off (see `s3`): they can't tell a conditional write that was repeated from
one that lost, and they give up within seconds.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, before_sleep_log

from sea_api.redaction import redacted
from sea_data.object_store import StoreUnavailableError
from sea_env.retry import IF_TRANSIENT, backoff, stop_at
from sea_runtime.store.botocore_errors import translate

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

FIRST_DELAY_SECONDS = 0.2
MAX_DELAY_SECONDS = 5.0


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait for a store that does not answer, in seconds."""

    timeout_s: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    gives_up: Callable[[], bool] = lambda: False
    """Asked after each failure that may pass: True ends the call before its time."""

    def call(self, what: str, attempt: Callable[[], Result]) -> Result:
        """Runs `attempt` until it succeeds, fails permanently, or the time is over.

        Raises:
            StoreUnavailableError: still no usable answer after `timeout_s`.
            StoreError: a failure that a retry can't cure.
        """

        def translated() -> Result:
            try:
                return attempt()
            except Exception as error:
                # Translated inside the retry: tenacity decides by our `permanent`, not by
                # botocore's types.
                raise translate(error, what) from error

        began, given_up = self.clock(), False
        too_late = stop_at(began + self.timeout_s, self.clock)

        def stop(state: RetryCallState) -> bool:
            nonlocal given_up
            # The question first: the other rule must not hide a failure from it.
            given_up = self.gives_up()
            return given_up or too_late(state)

        retrying = Retrying(
            retry=IF_TRANSIENT,
            wait=backoff(FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS, self.jitter),
            stop=stop,
            sleep=self.sleep,
            before_sleep=before_sleep_log(_log, logging.WARNING),
            # Raise the last error itself, not tenacity's RetryError.
            reraise=True,
        )
        try:
            return retrying(translated)
        except StoreUnavailableError as error:
            why = redacted(str(error.__cause__))
            waited = self.clock() - began if given_up else self.timeout_s
            raise StoreUnavailableError(
                f"The object store did not answer '{what}' for {waited:.0f} s: {why}. "
                "Check that it runs and that this pod can reach it."
            ) from error.__cause__
