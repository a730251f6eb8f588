"""The decision of a pass: from the observation to a plan. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sea_api.contract import HASH_LABEL, RETRY_ANNOTATION, role_name
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_operator.attempts import known_attempt
from sea_operator.coordinator_spec import coordinator_spec, run_images
from sea_operator.kube.client import POD, STATEFUL_SET
from sea_operator.lifecycle import Context, held, lifecycle_of, verdict_of
from sea_operator.observed import Blocker, Named, Object, Observed, role_of
from sea_operator.plan import Lifecycle, Outcome, Plan, Removal, Suspension
from sea_operator.pods import Pod
from sea_operator.policies import escalation, phase, rollback
from sea_operator.policies.drift import due, outdated, strays
from sea_operator.policies.failure_policy import Verdict
from sea_operator.policies.failures import lost_pods
from sea_operator.policies.prerequisites import bad_secret, unmet
from sea_operator.policies.updates import Waiting, kept, sentence_about, update
from sea_operator.resources.build import objects, token_digest, token_secret
from sea_operator.resources.patch import PatchRefusedError
from sea_operator.resources.pod import avoiding
from sea_operator.resources.role_settings import roles
from sea_operator.settings import Intervals, revision

REFUSED_SECONDS = 15
"""Between two attempts to make pods that were refused."""
SOON_SECONDS = 0.2
"""After a change of the job's conditions: the next pass acts on it."""


def decide(observed: Observed, context: Context) -> Plan:
    """The plan of this pass."""
    if observed.job.deleting:
        return _released(observed, context)
    blocker = unmet(observed, _wanted_names(observed))
    if blocker is not None:
        return _held(observed, blocker, context)
    spec = observed.job.spec
    assert spec is not None
    blocker = bad_secret(observed, spec)
    # A job that is over or suspended gives its pods back, whatever others would need.
    needs_pods = not spec.suspend and phase.outcome(observed.job) is Outcome.RUNNING
    if blocker is not None and needs_pods:
        return _held(observed, blocker, context)
    verdict = verdict_of(observed, spec, context.now)
    lifecycle = lifecycle_of(observed, spec, verdict, context)
    if blocker is not None:
        lifecycle = replace(lifecycle, blocker=blocker)
    try:
        return _plan(observed, spec, lifecycle, verdict, context)
    except PatchRefusedError as error:
        return _held(observed, Blocker("PodPatchRefused", str(error)), context)


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


def _wanted_names(observed: Observed) -> list[Named]:
    spec, job = observed.job.spec, observed.job.name
    names = [role_name(job, role) for role in roles(spec)] if spec else []
    return [(kind, name) for kind in ("Service", "StatefulSet") for name in names]


def _plan(
    observed: Observed, spec: Spec, lifecycle: Lifecycle, verdict: Verdict | None, context: Context
) -> Plan:
    # The templates carry the digest of the token that this same pass creates the Secret with.
    token = observed.token or context.fresh_token
    wanted, waiting = _children(observed, spec, lifecycle, token, context)
    wanted_spec = coordinator_spec(
        observed.job,
        spec,
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
    return Plan(
        lifecycle,
        secret=token_secret(observed.job, token) if observed.token is None else None,
        applies=tuple(due(observed, wanted)),
        removals=(
            *strays(observed, wanted),
            *map(_removal, _to_delete(observed, verdict, wanted, lifecycle)),
        ),
        coordinator_spec=wanted_spec,
        send=send,
        renewals=tuple(map(_removal, lifecycle.renewed)),
        fenced_removals=tuple(_removal(pod, grace=0) for pod in lost),
        # A job that is over makes no pods any more.
        update_waits="" if lifecycle.over else sentence_about(waiting),
        requeue=requeue(
            lifecycle,
            context.intervals,
            sent=send,
            waits=_waits(observed, lifecycle, context.intervals),
        ),
    )


def _children(
    observed: Observed, spec: Spec, lifecycle: Lifecycle, token: str, context: Context
) -> tuple[list[Object], tuple[Waiting, ...]]:
    """The children as they should be now, and the roles that wait for an update."""
    made = objects(
        observed.job,
        spec,
        lifecycle.replicas,
        context.images,
        token_digest(token),
        lifecycle.secrets,
        lifecycle.working,
    )
    if lifecycle.keeps_layout:
        made = [_with_live_template(observed, child) for child in made]
    updated = update(observed, made, revision(context.images), renews=_renews(observed, lifecycle))
    nodes = escalation.avoided(lifecycle.recent_failures)
    wanted = [
        _avoiding(_asking_again(child, observed, context.now), nodes) for child in updated.children
    ]
    return wanted, updated.waiting


def _avoiding(child: Object, nodes: Sequence[str]) -> Object:
    """The trainer's StatefulSet whose new pods avoid nodes, as long as others have room.

    Not part of the template's own hash: pods that run stay where they are.
    """
    if not nodes or role_of(child["metadata"]["labels"]) is not Role.TRAINER:
        return child
    return avoiding(child, nodes) if "template" in child["spec"] else child


def _with_live_template(observed: Observed, child: Object) -> Object:
    """The trainer's StatefulSet with the pods that it has."""
    live = observed.children.get((child["kind"], child["metadata"]["name"]))
    is_trainer = role_of(child["metadata"]["labels"]) is Role.TRAINER
    return kept(child, live) if live and is_trainer and "template" in child["spec"] else child


def _renews(observed: Observed, lifecycle: Lifecycle) -> bool:
    """True if the job's pods are replaced, or made after it had none."""
    sizes = (observed.replicas(role_name(observed.job.name, role)) for role in lifecycle.replicas)
    starts = not any(sizes) and any(lifecycle.replicas.values())
    return starts or lifecycle.attempt > known_attempt(observed)


def _asking_again(child: Object, observed: Observed, now: float) -> Object:
    """Touches a set whose pods are refused, so that Kubernetes tries again.

    By itself its controller does so at growing intervals, up to a quarter of an hour after a quota
    was raised.
    """
    meta = child["metadata"]
    if role_of(meta["labels"]) not in observed.refusals or "template" not in child["spec"]:
        return child
    period = str(int(now // REFUSED_SECONDS))
    annotations = {**meta.get("annotations", {}), RETRY_ANNOTATION: period}
    return {**child, "metadata": {**meta, "annotations": annotations}}


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
        *(() if stays else outdated(observed, _template_hashes(wanted))),
    ]
    return tuple({pod.uid: pod for pod in named if pod.deleted is None}.values())


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
