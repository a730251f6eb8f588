"""The pod that made a job fail stays as long as the job says, and nothing else does."""

from typing import Any

import pytest

from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Failure
from sea_operator.decide import decide
from sea_operator.plan import Outcome
from sea_operator.policies.phase import retries, retry_digest
from sea_operator.timestamps import stamp

TTL = {"ttlSecondsAfterFinished": 600}


def failed(make: Any, pod: str, ago: float, policy: dict[str, Any]) -> Any:
    spec = make.spec(failurePolicy=policy)
    failure = Failure(
        role="Trainer", cause="ProcessExit", message="x", pod=pod, time=stamp(make.now)
    )
    status = make.status(
        make.condition("Failed", "True"),
        last_failure=failure,
        completion_time=stamp(make.now - ago),
        failed_spec=retry_digest(spec),
    )
    return make.observed(make.job(spec=spec, status=status))


@pytest.mark.parametrize(
    ("pod", "ago", "policy", "kept"),
    [
        ("j-trainer-0", 1, TTL, {Role.TRAINER: 1}),
        ("j-trainer-1", 599, TTL, {Role.TRAINER: 2}),
        ("j-rollout-0", 1, TTL, {Role.ROLLOUT: 1}),
        ("j-trainer-0", 600, TTL, {}),
        ("j-trainer-0", 1, {}, {}),
        ("j-trainer-9", 1, TTL, {}),
    ],
)
def test_the_failed_pod_stays_for_its_time(
    make: Any, pod: str, ago: float, policy: dict[str, Any], kept: dict[Role, int]
) -> None:
    lifecycle = decide(failed(make, pod, ago, policy), make.context()).lifecycle
    assert lifecycle.outcome is Outcome.FAILED
    assert {role: size for role, size in lifecycle.replicas.items() if size} == kept


def test_a_failed_job_does_not_start_again_because_its_pod_shall_stay(make: Any) -> None:
    before = failed(make, "j-trainer-0", 1, {}).job
    later = make.spec(failurePolicy=TTL)
    status = before.status
    assert not retries(make.job(spec=later, status=status, generation=2))
    more = make.spec(failurePolicy={**TTL, "budget": {"restarts": 99}})
    assert retries(make.job(spec=more, status=status, generation=2))
