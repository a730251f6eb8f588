"""How many pods each role's StatefulSet asks for, and how many the role works with. Pure.

In order: what the stage needs (`stage_roles.py`), what elastic roles have (`elastic.py`), what must
wait for the coordinator's check of its inputs or of an edited layout (`layout_edits.py`), and zero
once the job is over or suspended.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sea_api.contract import role_name
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Status
from sea_operator.coordinator_spec import coordinator_spec
from sea_operator.elasticity import NO_RANGES, Elasticity
from sea_operator.observed import Blocker, Observed
from sea_operator.plan import Suspension
from sea_operator.policies import elastic, failed_pod, layout_edits, missing_gpus, stage_roles
from sea_operator.policies.run_images import images
from sea_operator.resources.build import gpus_of


@dataclass(frozen=True)
class Sizing:
    """The sizes of one pass."""

    sets: Mapping[Role, int]
    """Pods that each StatefulSet asks for."""
    working: Mapping[Role, int]
    """Those of them that the role works with."""
    elastic: Elasticity
    keeps_layout: bool
    """The trainer's pods stay as they are until an edit of their layout is checked."""
    checking: bool
    """Pods with GPUs wait for the coordinator's check."""
    no_nodes: Blocker | None
    """GPUs that no node has."""


def size(
    observed: Observed,
    spec: Spec,
    stage_index: int,
    now: float,
    *,
    over: bool,
    suspension: Suspension,
    attempt_over: bool,
) -> Sizing:
    """The sizes of a job's roles.

    Args:
        over: the stored status says that nothing more will run.
        attempt_over: the trainer's attempt has failed, or ended for another size.
    """
    needed = stage_roles.sizes(spec, stage_index)
    starts = suspension is Suspension.NONE and not over
    sized = elastic.decide(observed, spec, needed, now, runs=starts, attempt_over=attempt_over)
    full = sized.asked(needed)
    least = elastic.least(spec, needed)
    no_nodes = missing_gpus.blocker(observed, spec, least) if starts else None
    checked = no_nodes is None and is_checked(observed, spec, stage_index, sized)
    sets = replicas(observed, spec, full, over=over, suspension=suspension, checked=checked)
    keeps = starts and not checked and _protects_layout(observed, spec, attempt_over=attempt_over)
    if keeps and sets[Role.TRAINER]:
        live = observed.replicas(role_name(observed.job.name, Role.TRAINER)) or 0
        sets = {**sets, Role.TRAINER: live}
    if over:
        sets = {**sets, **failed_pod.kept(observed, spec, now)}
    return Sizing(
        sets=sets,
        working=sized.working(sets),
        elastic=sized,
        keeps_layout=keeps,
        checking=starts and sets != full,
        no_nodes=no_nodes,
    )


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


def is_checked(
    observed: Observed, spec: Spec, stage_index: int, sized: Elasticity = NO_RANGES
) -> bool:
    """Whether data, endpoints and models of this stage, as the spec has them, are in order."""
    state = observed.state
    # A coordinator of another release doesn't say, and its job must start all the same.
    if state is None or state.prepared is None:
        return state is not None
    if not state.prepared:
        return False
    # Of an edit that it hasn't got yet, or of the stage before, it says nothing.
    asked = coordinator_spec(
        observed.job,
        spec,
        stage_index=stage_index,
        attempt=state.attempt,
        trainer_size=sized.trainer_size,
        trainer_pods=sized.trainer_pods,
        drain=False,
        gpus=observed.gpus,
        images=images(observed),
    )
    return state.spec_digest == asked.digest


def _protects_layout(observed: Observed, spec: Spec, *, attempt_over: bool) -> bool:
    """Whether an attempt that works would end for a layout that nobody has checked."""
    state = observed.state
    # A coordinator that doesn't answer checks nothing: pods may be needed elsewhere meanwhile.
    if state is None or state.trainer_failure is not None or attempt_over:
        return False
    return layout_edits.is_another_layout(observed, spec)


def _has_no_gpus_yet(observed: Observed, spec: Spec, role: Role) -> bool:
    """Whether the role needs GPUs, which would wait for a mistake to be found, and has none."""
    return bool(gpus_of(spec, role)) and not observed.replicas(role_name(observed.job.name, role))


def _at_most(observed: Observed, role: Role, size: int) -> int:
    # From the live StatefulSet: a role whose set is missing gets none during a drain.
    live = observed.replicas(role_name(observed.job.name, role))
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
