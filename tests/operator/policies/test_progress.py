"""Complete and Failed stay, until the spec gives a reason to go on."""

from typing import Any

import pytest

from sea_operator.plan import Outcome
from sea_operator.policies.phase import outcome, retries, retry_digest, why


@pytest.mark.parametrize(
    ("complete", "failed", "edit", "stage", "expected"),
    [
        ("False", "False", {}, "rl", Outcome.RUNNING),
        ("True", "False", {}, "eval", Outcome.COMPLETE),
        ("True", "False", {}, "rl", Outcome.RUNNING),
        ("False", "True", {}, "rl", Outcome.FAILED),
        ("False", "True", {"suspend": True}, "rl", Outcome.FAILED),
        ("False", "True", {"rollout": {"replicas": 7}}, "rl", Outcome.FAILED),
        ("False", "True", {"checkpoint": {"everySteps": 10}}, "rl", Outcome.FAILED),
        ("False", "True", {"trainer": {"replicas": 4}}, "rl", Outcome.RUNNING),
        ("False", "True", {"failurePolicy": {"budget": {"restarts": 50}}}, "rl", Outcome.RUNNING),
        (
            "False",
            "True",
            {"suspend": True, "failurePolicy": {"budget": {"restarts": 50}}},
            "rl",
            Outcome.RUNNING,
        ),
    ],
)
def test_outcome(
    make: Any, complete: str, failed: str, edit: dict[str, Any], stage: str, expected: Any
) -> None:
    """`edit`: since it failed; a value that is the default changes nothing."""
    status = make.status(
        make.condition("Complete", complete),
        make.condition("Failed", failed, observed_generation=1),
        stage=stage,
        failed_spec=retry_digest(make.spec()) if failed == "True" else None,
    )
    job = make.job(spec=make.spec(**edit), status=status, generation=2)
    assert outcome(job) is expected
    assert retries(job) is (failed == "True" and expected is Outcome.RUNNING)


def test_a_fresh_job_runs(make: Any) -> None:
    assert outcome(make.job()) is Outcome.RUNNING
    assert why(make.job()) is None
    assert not retries(make.job())


def test_a_failed_job_has_its_reason(make: Any) -> None:
    status = make.status(make.condition("Failed", "True"), failed_spec="x")
    found = why(make.job(status=status))
    assert found is not None
    assert found.reason == "Reason"


def test_an_unreadable_spec_starts_nothing_again(make: Any) -> None:
    status = make.status(make.condition("Failed", "True"), failed_spec="x")
    assert outcome(make.job(status=status, invalid="What?")) is Outcome.FAILED
