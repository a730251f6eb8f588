"""Carries out a plan, in two halves around the status write.

The process may crash after any step: the next pass sees what was done and does the rest.
The API server's answers go into the cache at once, so that the next pass doesn't do it again.
"""

from dataclasses import dataclass

from sea_operator.errors import ConflictError, NotFoundError, RejectedError
from sea_operator.kube.client import SECRET, SERVICE, STATEFUL_SET
from sea_operator.observe import Sources
from sea_operator.observed import Object, Observed
from sea_operator.plan import Blocker, Plan, Removal
from sea_operator.policies.drift import without_emptied

KINDS = {kind.name: kind for kind in (STATEFUL_SET, SERVICE)}


@dataclass(frozen=True)
class Applied:
    """How the first half went."""

    rejected: Blocker | None = None
    """A child that the API server refuses for good."""


async def apply(sources: Sources, observed: Observed, plan: Plan) -> Applied:
    """Children and pods: everything that the status reports."""
    rejected: list[Blocker] = []
    # First: the pod templates name this Secret, and their annotation carries its token's digest.
    if plan.secret is not None:
        try:
            # `create`, never `apply`: if another pass or leader was faster, this one fails with a
            # conflict instead of rotating a token that pods already hold.
            made = await sources.client.create(SECRET, observed.job.namespace, plan.secret)
        except RejectedError as error:
            # Its token is in every template: none of them counts before the Secret is there.
            return Applied(_refusal(plan.secret, error))
        # A kill before this line costs one read: the next pass finds the Secret in the API server.
        sources.secrets.wrote_token(observed.job, made)
    for child in plan.applies:
        kind = KINDS[child["kind"]]
        try:
            live = await sources.client.apply(kind, _pinned(observed, child))
        except RejectedError as error:
            # The other children are still applied: one bad field must not
            # hold up the rest of the job.
            rejected.append(_refusal(child, error))
        else:
            # Cached before the watch event arrives: without it the next pass
            # would apply the child again.
            sources.cache.wrote(kind, live)
    # After the applies: an outdated pod that goes before its StatefulSet has the new template would
    # be created from the old one (`policies/drift.py` asks for the live template too).
    for removal in plan.removals:
        await _remove(sources, observed.job.namespace, removal)
    return Applied(rejected[0] if rejected else None)


async def follow_up(sources: Sources, observed: Observed, plan: Plan) -> None:
    """What may happen only after the status has recorded it."""
    # Before the spec is sent: the new attempt would begin with pods that are about to go.
    for removal in plan.renewals:
        await _remove(sources, observed.job.namespace, removal)
    # After the status write: the spec carries the attempt number. If the coordinator had it first,
    # a kill before the write would leave an attempt that `status.restarts` doesn't count.
    if plan.send and plan.coordinator_spec is not None and observed.token is not None:
        # Not a request to the API server, so no guard asks by itself whether we still lead.
        sources.client.check()
        await sources.link.send(observed.job, observed.pods, observed.token, plan.coordinator_spec)
    # After the status has left their attempt behind (fencing): a pod whose node only seemed dead
    # finds that its attempt may not commit any more. The other way round both could write.
    # A refused spec raises above and leaves the pods to the next pass. An unreachable coordinator
    # doesn't (`send` is false): it may be on the dead node itself.
    for removal in plan.fenced_removals:
        await _remove(sources, observed.job.namespace, removal)


def _pinned(observed: Observed, child: Object) -> Object:
    """The child as it is applied: with the uid of the live one as a precondition.

    `apply` forces conflicts, so without it an object that took the name in between would be
    overwritten.
    """
    live = observed.children.get((child["kind"], child["metadata"]["name"]))
    if live is None:
        return child
    # With a uid the API server answers 409 instead of creating or adopting a successor.
    body: Object = without_emptied(live, child)
    return {**body, "metadata": {**body["metadata"], "uid": live["metadata"]["uid"]}}


async def _remove(sources: Sources, namespace: str, removal: Removal) -> None:
    """Deletes; an object that is gone or was replaced under its name is deleted already."""
    kind, name, uid = removal.kind, removal.name, removal.uid
    try:
        answer = await sources.client.delete(kind, namespace, name, uid, removal.grace_seconds)
    except (NotFoundError, ConflictError):
        # Our view was late. Whatever has the name now comes with its own event.
        sources.cache.deleted(kind, namespace, name, uid)
        return
    if _stays(answer):
        sources.cache.wrote(kind, answer)
    else:
        sources.cache.deleted(kind, namespace, name, uid)


def _stays(answer: Object) -> bool:
    """Whether a deleted object exists until its grace period or a finalizer ends.

    Of one that is gone the API server returns a Status, or for some kinds its last state.
    """
    # `deletionGracePeriodSeconds` 0 is falsy on purpose: the API server removes such a pod at once.
    meta = answer.get("metadata", {})
    waits = meta.get("deletionGracePeriodSeconds") or meta.get("finalizers")
    return "deletionTimestamp" in meta and bool(waits)


def _refusal(child: Object, error: RejectedError) -> Blocker:
    meta = child["metadata"]
    return Blocker(
        "ChildRejected",
        f"The API server refuses {child['kind']} {meta['namespace']}/{meta['name']}: {error} "
        "Change what it objects to in the job, or delete the object if a field of it can't "
        "change, and the operator creates it again.",
    )
