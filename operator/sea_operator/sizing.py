"""How many pods each role's StatefulSet asks for, and how many the role works with. Pure.

In order: what the stage needs (`policies/role_sizes.py`), what elastic roles have (`elastic.py`),
what must wait for the coordinator's check of its inputs or of an edited layout, and zero once the
job is over or suspended.

Size, parallelism or processes per pod that the model can't be laid out in, or that don't fit into
memory, would otherwise be found only after the pods of the attempt that works are gone. Until an
edit of them is checked, the trainer follows the spec before it, and the job says what is wrong with
this one. The same holds while the trainer's pods can't be replaced (`live_layout.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_operator import live_layout
from sea_operator.coordinator_spec import coordinator_spec, run_images
from sea_operator.elasticity import NO_RANGES, Elasticity
from sea_operator.observed import Blocker, Observed
from sea_operator.plan import Suspension
from sea_operator.policies import elastic, role_sizes, rollback, waiting_pods


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


@dataclass(frozen=True)
class Situation:
    """What else the sizes of a pass depend on."""

    over: bool
    """The stored status says that nothing more will run."""
    suspension: Suspension
    attempt_over: bool
    """The trainer's attempt has failed, or ended for another size."""
    frozen: frozenset[Role] = frozenset()
    """Roles that get no further pods now."""

    @property
    def starts(self) -> bool:
        """Whether pods may be made."""
        return self.suspension is Suspension.NONE and not self.over


def size(
    observed: Observed,
    spec: Spec,
    stage_index: int,
    now: float,
    situation: Situation,
    *,
    attempt_begins: bool = False,
) -> Sizing:
    """The sizes of a job's roles; `attempt_begins`: another one does with this pass."""
    needed = role_sizes.sizes(spec, stage_index)
    starts, attempt_over = situation.starts, situation.attempt_over
    ends = attempt_over or attempt_begins
    sized = elastic.decide(observed, spec, needed, now, runs=starts, attempt_over=ends)
    least = elastic.least(spec, needed)
    no_nodes = waiting_pods.no_node(observed, spec, least) if starts else None
    waits = starts and _waits(observed, spec, situation.frozen, sized)
    protects = waits or (starts and _protects_layout(observed, spec, attempt_over=attempt_over))
    # Another size, as the layout of the edit may need, would end the attempt that is protected.
    held = sized.with_trainer_of(elastic.remembered(observed)) if protects else sized
    told = live_layout.followed(observed, spec, situation.frozen)
    checked = no_nodes is None and is_checked(observed, told, stage_index, held)
    sized = sized if checked and not waits else held
    full = sized.asked(needed)
    over, suspension = situation.over, situation.suspension
    sets = role_sizes.replicas(
        observed, spec, full, over=over, suspension=suspension, checked=checked
    )
    checking = starts and sets != full
    sets = role_sizes.without_new(observed, sets, situation.frozen)
    keeps = protects and (waits or not checked)
    if keeps and sets[Role.TRAINER]:
        sets = {**sets, Role.TRAINER: live_layout.trainer_pods(observed)}
    if over:
        sets = {**sets, **role_sizes.of_failed_pod(observed, spec, now)}
    return Sizing(
        sets=sets,
        working=sized.working(sets),
        elastic=sized,
        keeps_layout=keeps,
        checking=checking,
        no_nodes=no_nodes,
    )


def _waits(observed: Observed, spec: Spec, frozen: frozenset[Role], sized: Elasticity) -> bool:
    """Whether the trainer can't have what the spec asks for, since its pods can't be replaced and
    it gets no further ones."""
    if live_layout.waits(observed, spec, frozen):
        return True
    size = sized.trainer_size
    # A size that it can't reach would end the attempt that runs.
    return (
        Role.TRAINER in frozen
        and size is not None
        and 0 < live_layout.trainer_pods(observed) < size
    )


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
        rollback=rollback.order(observed, observed.job.status.rollback),
        gpus=observed.gpus,
        images=run_images(observed),
    )
    return state.spec_digest == asked.digest


def _protects_layout(observed: Observed, spec: Spec, *, attempt_over: bool) -> bool:
    """Whether an attempt that works would end for a layout that nobody has checked."""
    state = observed.state
    # A coordinator that doesn't answer checks nothing: pods may be needed elsewhere meanwhile.
    if state is None or state.trainer_failure is not None or attempt_over:
        return False
    return live_layout.is_another(observed, spec)
