"""Does what a plan says, in two halves around the status write; keeps nothing to itself.

Every step may be the last one before a crash: the next pass sees what was done and does the rest.
"""

from dataclasses import dataclass

from sea_operator.coordinator_link import CoordinatorLink
from sea_operator.kube.client import KubeClient
from sea_operator.kube.errors import ConflictError, NotFoundError, RejectedError
from sea_operator.kube.kinds import SECRET, SERVICE, STATEFUL_SET
from sea_operator.observed import Object, Observed
from sea_operator.plan import Halt, Plan, Removal

KINDS = {kind.name: kind for kind in (STATEFUL_SET, SERVICE)}


@dataclass(frozen=True)
class Applied:
    """How the first half went."""

    rejected: Halt | None = None
    """A child that the API server refuses for good."""


async def apply(client: KubeClient, observed: Observed, plan: Plan) -> Applied:
    """Children and pods: everything that the status tells about."""
    rejected: list[Halt] = []
    if plan.secret is not None:
        try:
            await client.create(SECRET, observed.job.namespace, plan.secret)
        except RejectedError as error:
            # Its token is in every template: none of them counts before the Secret is there.
            return Applied(_refusal(plan.secret, error))
    for child in plan.applies:
        try:
            await client.apply(KINDS[child["kind"]], _pinned(observed, child))
        except RejectedError as error:
            rejected.append(_refusal(child, error))
    for removal in plan.removals:
        await _remove(client, observed.job.namespace, removal)
    return Applied(rejected[0] if rejected else None)


async def follow_up(
    client: KubeClient, link: CoordinatorLink, observed: Observed, plan: Plan
) -> None:
    """What may only happen once the status has recorded it."""
    if plan.send and plan.coordinator_spec is not None and observed.token is not None:
        client.check()
        await link.send(observed.job, observed.pods, observed.token, plan.coordinator_spec)
    for removal in plan.fenced_removals:
        await _remove(client, observed.job.namespace, removal)


def _pinned(observed: Observed, child: Object) -> Object:
    """The child with the uid of the live one: a stranger that took its name meanwhile is safe."""
    live = observed.children.get((child["kind"], child["metadata"]["name"]))
    if live is None:
        return child
    return {**child, "metadata": {**child["metadata"], "uid": live["metadata"]["uid"]}}


async def _remove(client: KubeClient, namespace: str, removal: Removal) -> None:
    """Gone already, or replaced by another of the same name: both are what was wanted."""
    try:
        await client.delete(
            removal.kind, namespace, removal.name, removal.uid, removal.grace_seconds
        )
    except (NotFoundError, ConflictError):
        return


def _refusal(child: Object, error: RejectedError) -> Halt:
    meta = child["metadata"]
    return Halt(
        "ChildRejected",
        f"The API server refuses {child['kind']} {meta['namespace']}/{meta['name']}: {error} "
        "Change what it objects to in the job, or delete the object if a field of it can't "
        "change, and the operator makes it anew.",
    )
