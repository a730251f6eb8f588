"""The decision of a pass: from what was seen to what is to be done. Pure."""

from collections.abc import Mapping

from sea_api.contract import HASH_LABEL, role_name
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_operator.children.desired import objects, roles
from sea_operator.children.secret import auth, token_digest
from sea_operator.coordinator_spec import coordinator_spec
from sea_operator.course import Context, course_of, held, verdict_of
from sea_operator.kube.kinds import POD
from sea_operator.observed import Named, Object, Observed, Pod, role_of
from sea_operator.plan import Course, Plan, Removal, Suspension
from sea_operator.policies import pods
from sea_operator.policies.drift import due, strays
from sea_operator.policies.failure import Verdict
from sea_operator.policies.prerequisites import unmet
from sea_operator.policies.requeue import requeue


def decide(observed: Observed, context: Context) -> Plan:
    """The plan of this pass."""
    halt = unmet(observed, _wanted_names(observed))
    if halt is not None:
        course = held(observed, halt)
        return Plan(course, requeue=requeue(course, context.intervals, sent=False))
    spec = observed.job.spec
    assert spec is not None
    verdict = verdict_of(observed, spec, context.now)
    course = course_of(observed, spec, verdict, context)
    return _plan(observed, spec, course, verdict, context)


def _wanted_names(observed: Observed) -> list[Named]:
    spec, job = observed.job.spec, observed.job.name
    names = [role_name(job, role) for role in roles(spec)] if spec else []
    return [(kind, name) for kind in ("Service", "StatefulSet") for name in names]


def _plan(
    observed: Observed, spec: Spec, course: Course, verdict: Verdict | None, context: Context
) -> Plan:
    job = observed.job
    token = observed.token or context.fresh_token
    wanted = objects(job, spec, course.replicas, context.images, token_digest(token))
    wanted_spec = coordinator_spec(
        job,
        spec,
        stage_index=course.stage_index or 0,
        attempt=course.attempt,
        drain=course.suspension is not Suspension.NONE,
    )
    lost = pods.lost(observed, context.now, context.intervals.dead_node_grace)
    send = not course.over and _is_news(observed, wanted_spec.digest)
    return Plan(
        course,
        secret=auth(job, token) if observed.token is None else None,
        applies=tuple(due(observed, wanted)),
        removals=(*strays(observed, wanted), *map(_removal, _doomed(observed, verdict, wanted))),
        coordinator_spec=wanted_spec,
        send=send,
        fenced_removals=tuple(_removal(pod, grace=0) for pod in lost),
        requeue=requeue(course, context.intervals, sent=send),
    )


def _is_news(observed: Observed, digest: str) -> bool:
    return observed.state is not None and observed.state.spec_digest != digest


def _doomed(observed: Observed, verdict: Verdict | None, wanted: list[Object]) -> tuple[Pod, ...]:
    """Pods to delete: those the failure policy names, and outdated ones."""
    named = [
        *(verdict.delete if verdict else ()),
        *pods.outdated(observed, _template_hashes(wanted)),
    ]
    return tuple({pod.uid: pod for pod in named if pod.deleted is None}.values())


def _template_hashes(wanted: list[Object]) -> Mapping[Role, str]:
    sets = [child for child in wanted if child["kind"] == "StatefulSet"]
    return {
        role: child["spec"]["template"]["metadata"]["labels"][HASH_LABEL]
        for child in sets
        if (role := role_of(child["metadata"]["labels"])) is not None
    }


def _removal(pod: Pod, grace: int | None = None) -> Removal:
    return Removal(POD, pod.name, pod.uid, grace)
