"""The decision of a pass: from the observation to a plan. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sea_api.contract import HASH_LABEL
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_operator import live_layout
from sea_operator.children import children
from sea_operator.coordinator_spec import coordinator_spec, run_images
from sea_operator.kube.client import POD, STATEFUL_SET
from sea_operator.lifecycle import Context, held, lifecycle_of, verdict_of
from sea_operator.observed import Blocker, Job, Named, Object, Observed, role_of
from sea_operator.plan import Lifecycle, Outcome, Plan, Removal, Suspension
from sea_operator.pods import Pod
from sea_operator.policies import phase, refused_patches, rollback
from sea_operator.policies.conditions import together
from sea_operator.policies.drift import due, outdated, strays
from sea_operator.policies.failure_policy import Verdict
from sea_operator.policies.failures import lost_pods, undeleted
from sea_operator.policies.prerequisites import (
    Unmet,
    needed_later,
    runs,
    stalls,
    token_problem,
    unmet,
)
from sea_operator.policies.updates import Waiting, sentence_about
from sea_operator.resources.build import token_secret
from sea_operator.resources.role_settings import FIELDS
from sea_operator.settings import Intervals

SOON_SECONDS = 0.2
"""After a change of the job's conditions: the next pass acts on it."""


def decide(observed: Observed, context: Context) -> Plan:
    """The plan of this pass."""
    if observed.job.deleting:
        return _released(observed, context)
    spec = observed.job.spec
    if spec is None:
        return _held(observed, Blocker("InvalidSpec", _why_invalid(observed.job)), context)
    found = (*unmet(observed, spec), *refused_patches.unmet(observed, spec, context.images))
    # A job that is over or suspended gives its pods back, whatever others would need.
    gives_back = spec.suspend or phase.outcome(observed.job) is not Outcome.RUNNING
    if found and not gives_back and not runs(observed):
        return _held(observed, found[0].blocker, context)
    frozen = frozenset(role for one in found for role in one.roles)
    verdict = verdict_of(observed, spec, context.now, frozen)
    lifecycle = lifecycle_of(observed, spec, verdict, context, frozen)
    if found:
        lifecycle = _lacking(observed, spec, lifecycle, found, goes_on=not gives_back)
    taken = frozenset(one.taken for one in found if one.taken)
    return _plan(observed, spec, lifecycle, verdict, context, taken)


def _why_invalid(job: Job) -> str:
    return job.invalid or "The spec can't be read."


def _lacking(
    observed: Observed, spec: Spec, lifecycle: Lifecycle, found: Sequence[Unmet], *, goes_on: bool
) -> Lifecycle:
    """The lifecycle of a job that lacks something; `goes_on`: it isn't over or suspended."""
    index = lifecycle.stage_index
    if not goes_on or index is None:
        return _stalled_by(lifecycle, found, goes_on=goes_on)
    now = [one for one in found if stalls(one, observed, spec, index)]
    later = [needed_later(one, spec, index) for one in found if one not in now]
    lifecycle = replace(lifecycle, later=tuple(later))
    return _stalled_by(lifecycle, now, goes_on=True) if now else lifecycle


def _stalled_by(lifecycle: Lifecycle, found: Sequence[Unmet], *, goes_on: bool) -> Lifecycle:
    """The lifecycle of a job that lacks something now."""
    every = [one.blocker for one in found] + ([lifecycle.blocker] if lifecycle.blocker else [])
    # What waits for a person first: `together` takes over the kind of the first.
    blocker = together(sorted(every, key=lambda one: one.transient))
    if not goes_on:
        return replace(lifecycle, blocker=blocker)
    names = ", ".join(FIELDS[role] for role in lifecycle.replicas if role in lifecycle.frozen)
    meanwhile = (
        f"The job goes on with the pods that it has; none of {names} is added or replaced "
        "meanwhile, and edits of these pods wait."
    )
    note = f"{meanwhile} {lifecycle.note}" if lifecycle.note else meanwhile
    return replace(lifecycle, blocker=blocker, note=note)


def _released(observed: Observed, context: Context) -> Plan:
    """The plan of a job that is deleted but held by a finalizer: its pods don't wait for that."""
    names = ", ".join(observed.job.holders)
    message = f"The job is being deleted and its pods are released; finalizers hold it: {names}."
    lifecycle = held(observed, Blocker("Deleting", message, transient=True))
    sets = [one for one in strays(observed, []) if one.kind is STATEFUL_SET]
    idle = context.intervals.idle
    return Plan(lifecycle, removals=tuple(sets), update_waits=None, requeue=idle)


def _held(observed: Observed, blocker: Blocker, context: Context) -> Plan:
    lifecycle = held(observed, blocker)
    later = requeue(lifecycle, context.intervals, sent=False)
    return Plan(lifecycle, update_waits=None, requeue=later)


def _plan(
    observed: Observed,
    spec: Spec,
    lifecycle: Lifecycle,
    verdict: Verdict | None,
    context: Context,
    taken: frozenset[Named],
) -> Plan:
    """`taken`: names of children that somebody else's objects have."""
    # The templates carry the digest of the token that this same pass creates the Secret with.
    fresh = observed.token is None and token_problem(observed) is None
    token = context.fresh_token if fresh else observed.token
    made, waiting = children(observed, spec, lifecycle, token, context.images, context.now)
    wanted = [one for one in made if (one["kind"], one["metadata"]["name"]) not in taken]
    wanted_spec = coordinator_spec(
        observed.job,
        live_layout.followed(observed, spec, lifecycle.frozen),
        stage_index=lifecycle.stage_index or 0,
        attempt=lifecycle.attempt,
        trainer_size=lifecycle.elastic.trainer_size,
        trainer_pods=lifecycle.elastic.trainer_pods,
        drain=lifecycle.suspension is not Suspension.NONE,
        rollback=rollback.order(observed, lifecycle.rollback),
        gpus=observed.gpus,
        images=run_images(observed),
    )
    # The same arguments as in `lifecycle_of`: a pod is removed only if its fence is in this status.
    lost = lost_pods(observed, context.now, context.intervals.dead_node_grace)
    # Not once the job is over: its coordinator is being scaled down. Nor before it is replaced.
    stays = not lifecycle.over and all(r.role is not Role.COORDINATOR for r in lifecycle.renewed)
    send = stays and _is_news(observed, wanted_spec.digest)
    secret = token_secret(observed.job, token) if fresh and token is not None else None
    pods = _to_delete(observed, verdict, wanted, lifecycle)
    waits = _waits(observed, lifecycle, context.intervals)
    return Plan(
        lifecycle,
        secret=secret,
        applies=tuple(due(observed, wanted)),
        removals=(*strays(observed, wanted), *map(_removal, pods)),
        coordinator_spec=wanted_spec,
        send=send,
        renewals=tuple(map(_removal, lifecycle.renewed)),
        fenced_removals=tuple(_removal(pod, grace=0) for pod in lost),
        update_waits=_update_waits(lifecycle, waiting),
        requeue=requeue(lifecycle, context.intervals, sent=send, waits=waits),
    )


def _update_waits(lifecycle: Lifecycle, waiting: tuple[Waiting, ...]) -> str:
    # A job that is over makes no pods any more.
    return "" if lifecycle.over else sentence_about(waiting)


def _is_news(observed: Observed, digest: str) -> bool:
    return observed.state is not None and observed.state.spec_digest != digest


def _to_delete(
    observed: Observed, verdict: Verdict | None, wanted: list[Object], lifecycle: Lifecycle
) -> tuple[Pod, ...]:
    """Pods that the failure policy selects, and outdated ones."""
    # Not while they make their last checkpoint: a queue that evicts a job puts its node selectors
    # back in the same edit, and the pods go after the drain anyway.
    stays = lifecycle.suspension is Suspension.DRAINING
    named = [
        *(verdict.delete if verdict else ()),
        *undeleted(observed),
        *(() if stays else outdated(observed, _template_hashes(wanted))),
    ]
    # Its successor could not be made.
    going = (pod for pod in named if pod.deleted is None and pod.role not in lifecycle.frozen)
    return tuple({pod.uid: pod for pod in going}.values())


def _template_hashes(wanted: list[Object]) -> Mapping[Role, str]:
    """Hashes by role; a template that was kept from another release may have none."""
    sets = [child for child in wanted if child["kind"] == "StatefulSet"]
    return {
        role: labels[HASH_LABEL]
        for child in sets
        if (role := role_of(child["metadata"]["labels"])) is not None
        and HASH_LABEL in (labels := child["spec"]["template"]["metadata"]["labels"])
    }


def _removal(pod: Pod, grace: int | None = None) -> Removal:
    return Removal(POD, pod.name, pod.uid, grace)


def requeue(
    lifecycle: Lifecycle, intervals: Intervals, *, sent: bool, waits: float | None = None
) -> float:
    """Seconds until the next pass.

    `sent`: the coordinator gets a new spec. `waits`: for how long nothing but an event brings news.
    """
    if sent:
        # The coordinator acts on a new spec within one tick: look for the effect early.
        return intervals.active / 2
    if lifecycle.over or lifecycle.suspension is Suspension.RELEASED:
        return intervals.idle
    # Only a user's edit helps, and it brings its own event; a created Secret brings none.
    blocked = lifecycle.blocker is not None and not lifecycle.blocker.transient
    usual = intervals.stalled if blocked else intervals.active
    return max(usual, waits or 0.0)


def _waits(observed: Observed, lifecycle: Lifecycle, intervals: Intervals) -> float | None:
    """Seconds for which only an event can bring news, None if the job runs."""
    if observed.ask_again_after is not None:
        return observed.ask_again_after
    desired = [role for role, size in lifecycle.replicas.items() if size]
    working = {pod.role for pod in observed.pods if pod.ready} - {Role.COORDINATOR}
    # For GPUs, for example: meanwhile the coordinator has little to report. Where it is the only
    # one that should run, it checks inputs or makes data.
    alone = set(desired) <= {Role.COORDINATOR}
    return None if working or alone else intervals.waiting
