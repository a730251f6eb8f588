"""How long the pod that made a job fail stays (`failurePolicy.ttlSecondsAfterFinished`). Pure."""

from collections.abc import Mapping
from datetime import datetime

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_operator.observed import Observed
from sea_operator.plan import Outcome
from sea_operator.policies import phase


def kept(observed: Observed, spec: Spec, now: float) -> Mapping[Role, int]:
    """Replicas by which the failed pod stays, by its role; empty once it may go.

    A StatefulSet keeps its lowest ordinals, so the pods before it stay with it.
    """
    status, failure = observed.job.status, observed.job.status.last_failure
    ttl = spec.failure_policy.ttl_seconds_after_finished
    if phase.outcome(observed.job) is not Outcome.FAILED or failure is None:
        return {}
    if status.completion_time is None:
        return {}
    if now - datetime.fromisoformat(status.completion_time).timestamp() >= ttl:
        return {}
    # One that is gone already would come back empty.
    found = next((pod for pod in observed.pods if pod.name == failure.pod), None)
    if found is None or found.role is None or found.deleted is not None:
        return {}
    return {found.role: int(found.name.rpartition("-")[2]) + 1}
