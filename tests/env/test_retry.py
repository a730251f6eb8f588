"""What is tried again, after how long, and until when."""

import pytest
from tenacity import RetryError, Retrying, wait_fixed

from sea_api.errors import SeaError
from sea_env.endpoint_errors import EndpointError, RefusedError
from sea_env.retry import IF_TRANSIENT, backoff, is_transient, stop_at
from sea_env.verify.verdict import UnverifiableTaskError


class OutageError(SeaError):
    permanent = False


def outage() -> None:
    raise OutageError


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (OutageError(), True),
        (EndpointError(), True),
        (RefusedError(), False),
        (UnverifiableTaskError(), False),
        (ConnectionError(), False),
        (KeyboardInterrupt(), False),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_type_of_an_error_decides_if_it_is_retried(error: BaseException, retried: bool) -> None:
    assert is_transient(error) is retried


@pytest.mark.parametrize(("jitter", "spread"), [(0.0, 0.75), (0.5, 1.0), (1.0, 1.25)])
def test_delays_double_up_to_the_largest_and_are_spread_by_a_quarter(
    jitter: float, spread: float
) -> None:
    slept: list[float] = []
    wait = backoff(0.1, 2.0, lambda: jitter)
    stop = stop_at(10.0, lambda: sum(slept))
    with pytest.raises(RetryError):
        Retrying(retry=IF_TRANSIENT, wait=wait, stop=stop, sleep=slept.append)(outage)
    wanted = [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 2.0, 2.0]
    assert len(slept) >= 7
    assert slept == pytest.approx([spread * delay for delay in wanted[: len(slept)]])
    assert sum(slept) <= 10.0 < sum(slept) + 2.0 * spread


def test_a_thousand_attempts_have_no_delay_that_overflows() -> None:
    delays = backoff(0.5, 20.0, lambda: 0.5)
    seen: list[float] = []
    with pytest.raises(RetryError):
        Retrying(
            retry=IF_TRANSIENT,
            wait=delays,
            stop=lambda state: state.attempt_number > 2000,
            sleep=seen.append,
        )(outage)
    assert max(seen) == seen[-1] == 20.0


def test_no_attempt_begins_after_the_deadline() -> None:
    """Each attempt takes 4 seconds and each pause 1."""
    now = 0.0
    begun: list[float] = []

    def attempt() -> None:
        nonlocal now
        begun.append(now)
        now += 4.0
        raise OutageError

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    with pytest.raises(RetryError):
        Retrying(
            retry=IF_TRANSIENT,
            wait=wait_fixed(1.0),
            stop=stop_at(10.0, lambda: now),
            sleep=sleep,
        )(attempt)
    assert begun == [0.0, 5.0, 10.0]
