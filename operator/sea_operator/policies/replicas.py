"""How many pods each role should have now."""

from collections.abc import Mapping

from sea_api.contract import role_name
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Status
from sea_operator.children.desired import full_size
from sea_operator.observed import Observed
from sea_operator.plan import Suspension


def replicas(
    observed: Observed, spec: Spec, *, over: bool, suspension: Suspension
) -> Mapping[Role, int]:
    """None once the job is over or released; while it drains nothing grows again."""
    full = full_size(spec)
    if over or suspension is Suspension.RELEASED:
        return dict.fromkeys(full, 0)
    if suspension is Suspension.DRAINING:
        return {role: _at_most(observed, role, size) for role, size in full.items()}
    return full


def _at_most(observed: Observed, role: Role, size: int) -> int:
    live = observed.replicas(role_name(observed.job.name, role))
    return min(live or 0, size)


def resized(status: Status, wanted: Mapping[Role, int]) -> bool:
    """Whether a trainer that ran gets another size: a running attempt keeps its world, so pods
    that join it would wait for ever. One that comes from nothing or goes there isn't resized.
    """
    told = status.roles.trainer if status.roles else None
    before, now = told.desired if told else 0, wanted.get(Role.TRAINER, 0)
    return 0 not in (before, now) and before != now
