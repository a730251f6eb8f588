"""How many pods each role has now. Pure.

A stage runs with the roles that it needs; the others hold no GPUs while it runs, unless kept warm.
Supervised stages need only the trainer, evaluations only engines, and a Synthesis stage asks an
endpoint or nobody. An engine that starts late loads the base model and adopts the newest version,
which the trainer leaves in the object store at the end of each stage. A job that is over has no
pods but the one that made it fail (`failurePolicy.ttlSecondsAfterFinished`).
"""

from collections.abc import Mapping

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.stages import StageType
from sea_api.v1alpha1.status import Status
from sea_operator.observed import Observed
from sea_operator.plan import Outcome, Suspension
from sea_operator.policies import phase
from sea_operator.resources.role_settings import full_size, gpus_of
from sea_operator.timestamps import unix_seconds

ENGINES = frozenset({Role.ROLLOUT, Role.USER})
NEEDED: Mapping[StageType, frozenset[Role]] = {
    StageType.SYNTHESIS: frozenset(),
    StageType.USER_SFT: frozenset({Role.TRAINER}),
    StageType.SFT: frozenset({Role.TRAINER}),
    StageType.RL: ENGINES | {Role.TRAINER},
    # Not the trainer, though a later stage may need it: an evaluation takes far longer than its
    # start does.
    StageType.EVALUATION: ENGINES,
}


def sizes(spec: Spec, stage_index: int) -> dict[Role, int]:
    """Pods of each role while a stage runs; the coordinator always runs."""
    used = NEEDED[spec.stages[stage_index].type] | warm(spec) | {Role.COORDINATOR}
    return {role: size if role in used else 0 for role, size in full_size(spec).items()}


def warm(spec: Spec) -> frozenset[Role]:
    """Roles whose pods stay through stages that don't need them."""
    kept = {
        Role.TRAINER: spec.trainer.warm,
        Role.ROLLOUT: spec.rollout.warm,
        Role.USER: spec.user_model.warm,
    }
    return frozenset(role for role, stays in kept.items() if stays)


def replicas(
    observed: Observed,
    spec: Spec,
    full: Mapping[Role, int],
    *,
    over: bool,
    suspension: Suspension,
    checked: bool,
) -> Mapping[Role, int]:
    """Pods of each role: zero once the job is over or released; none is added during a drain.

    Roles with GPUs get their first pods once the coordinator has checked what they would work on.

    Args:
        full: what the stage needs.
        checked: whether it has.
    """
    if over or suspension.releases:
        return dict.fromkeys(full, 0)
    if suspension is Suspension.DRAINING:
        return {role: _at_most(observed, role, size) for role, size in full.items()}
    held = {role for role in full if not checked and _has_no_gpus_yet(observed, spec, role)}
    return {role: 0 if role in held else size for role, size in full.items()}


def _has_no_gpus_yet(observed: Observed, spec: Spec, role: Role) -> bool:
    """Whether the role needs GPUs, which would wait for a mistake to be found, and has none."""
    return bool(gpus_of(spec, role)) and not observed.replicas(role)


def without_new(
    observed: Observed, sets: Mapping[Role, int], frozen: frozenset[Role]
) -> Mapping[Role, int]:
    """The sizes, of which those of frozen roles don't grow."""
    return {
        role: _at_most(observed, role, size) if role in frozen else size
        for role, size in sets.items()
    }


def _at_most(observed: Observed, role: Role, size: int) -> int:
    # From the live StatefulSet: a role whose set is missing gets none during a drain.
    live = observed.replicas(role)
    return min(live or 0, size)


def resized(status: Status, wanted: Mapping[Role, int]) -> bool:
    """True if the trainer's replica count changed from a size other than 0.

    A running attempt has a fixed number of ranks: pods that join it would wait forever. It ends
    when its pods go, not when others come: from then on engines don't look for weights in the
    memory of pods that are gone, and the next pods find an attempt that nobody has begun.
    """
    # From the status, not from the StatefulSet: a kill between scaling the set and the status write
    # must still lead to a new attempt.
    last = status.roles.trainer if status.roles else None
    before, now = last.desired if last else 0, wanted.get(Role.TRAINER, 0)
    return before not in (0, now)


def of_failed_pod(observed: Observed, spec: Spec, now: float) -> Mapping[Role, int]:
    """Replicas by which the failed pod stays, by its role; empty once it may go.

    A StatefulSet keeps its lowest ordinals, so the pods before it stay with it.
    """
    status, failure = observed.job.status, observed.job.status.last_failure
    ttl = spec.failure_policy.ttl_seconds_after_finished
    if phase.outcome(observed.job) is not Outcome.FAILED or failure is None:
        return {}
    if status.completion_time is None:
        return {}
    if now - unix_seconds(status.completion_time) >= ttl:
        return {}
    # One that is gone already would come back empty.
    found = next((pod for pod in observed.pods if pod.name == failure.pod), None)
    if found is None or found.role is None or found.deleted is not None:
        return {}
    return {found.role: found.ordinal + 1}
