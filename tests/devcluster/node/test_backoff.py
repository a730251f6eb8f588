"""CrashLoopBackOff and restart policies."""

from typing import Any

import pytest

from sea_devcluster.node.exit_status import Backoff, BackoffPolicy, after_exit, should_restart

POLICY = BackoffPolicy(start=1.0, limit=30.0, reset_after=60.0)


@pytest.mark.parametrize(
    ("runs", "waits"),
    [
        ([0.1], [0.0]),
        ([0.1] * 8, [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]),
        ([0.1, 0.1, 0.1, 60.0, 0.1], [0.0, 1.0, 2.0, 0.0, 1.0]),
        ([59.9, 59.9], [0.0, 1.0]),
    ],
)
def test_waits_after_runs(runs: Any, waits: Any) -> None:
    backoff, found = Backoff(), []
    for seconds in runs:
        backoff, wait = after_exit(POLICY, backoff, seconds)
        found.append(wait)
    assert found == waits


def test_a_thousand_crashes_still_wait_the_limit() -> None:
    assert after_exit(POLICY, Backoff(1000), 0.0) == (Backoff(1001), 30.0)


@pytest.mark.parametrize(
    ("policy", "exit_code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 137, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policies(policy: str, exit_code: int, again: bool) -> None:
    assert should_restart(policy, exit_code) is again
