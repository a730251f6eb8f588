"""Complete and Failed stay, until the spec gives a reason to go on."""

from typing import Any

import pytest

from sea_operator.plan import Outcome
from sea_operator.policies.phase import outcome, retries, why


@pytest.mark.parametrize(
    ("complete", "failed", "failed_at", "stage", "expected"),
    [
        ("False", "False", 1, "rl", Outcome.RUNNING),
        ("True", "False", 1, "eval", Outcome.COMPLETE),
        ("True", "False", 1, "rl", Outcome.RUNNING),
        ("False", "True", 1, "rl", Outcome.FAILED),
        ("False", "True", 0, "rl", Outcome.RUNNING),
    ],
)
def test_outcome(
    make: Any, complete: str, failed: str, failed_at: int, stage: str, expected: Any
) -> None:
    status = make.status(
        make.condition("Complete", complete),
        make.condition("Failed", failed, observed_generation=failed_at),
        stage=stage,
    )
    assert outcome(make.job(status=status)) is expected


def test_a_fresh_job_runs(make: Any) -> None:
    assert outcome(make.job()) is Outcome.RUNNING
    assert why(make.job()) is None
    assert not retries(make.job())


def test_a_retry_is_a_failure_that_was_edited(make: Any) -> None:
    status = make.status(make.condition("Failed", "True", observed_generation=1))
    assert not retries(make.job(status=status, generation=1))
    assert retries(make.job(status=status, generation=2))
    found = why(make.job(status=status))
    assert found is not None
    assert found.reason == "Reason"
