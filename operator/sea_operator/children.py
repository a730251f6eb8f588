"""A job's children as they should be now: made from its spec, or kept as they are. Pure.

A role keeps the pod template that it has while something that new pods need is missing, while an
edit of its layout is unchecked, and while another revision of the operator waits for its time.
"""

from collections.abc import Sequence

from sea_api.contract import RETRY_ANNOTATION, TOKEN_ANNOTATION
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_operator.attempts import known_attempt
from sea_operator.observed import Object, Observed, role_of
from sea_operator.plan import Lifecycle
from sea_operator.policies import escalation, refused_patches
from sea_operator.policies.updates import Waiting, kept, update
from sea_operator.resources.build import objects, token_digest
from sea_operator.resources.pod import avoiding
from sea_operator.settings import Images, revision

REFUSED_SECONDS = 15
"""Between two attempts to make pods that were refused."""


def children(
    observed: Observed,
    spec: Spec,
    lifecycle: Lifecycle,
    token: str | None,
    images: Images,
    now: float,
) -> tuple[list[Object], tuple[Waiting, ...]]:
    """The children as they should be now, and the roles that wait for an update.

    `token`: None if nobody knows it. `now`: unix seconds.
    """
    refused = frozenset(refused_patches.refused(observed, spec, images))
    made = objects(
        observed.job,
        spec,
        lifecycle.replicas,
        images,
        _live_digest(observed) if token is None else token_digest(token),
        lifecycle.secrets,
        lifecycle.working,
        refused,
    )
    # No pod can be made without the token, so no set either.
    bare = frozenset(lifecycle.replicas) if token is None else refused
    made = [child for child in made if not _lacks(observed, child, bare)]
    made = [_templated(observed, child, refused) for child in made]
    frozen = lifecycle.frozen | ({Role.TRAINER} if lifecycle.keeps_layout else set())
    updated = update(
        observed,
        made,
        revision(images),
        renews=_renews(observed, lifecycle),
        frozen=frozen,
    )
    nodes = escalation.avoided(lifecycle.recent_failures)
    wanted = [_avoiding(_asking_again(child, observed, now), nodes) for child in updated.children]
    if refused:
        wanted = [refused_patches.noted(child, observed, spec, images) for child in wanted]
    return wanted, updated.waiting


def _live_digest(observed: Observed) -> str:
    """Of the token that the job's pods were started with, where nobody knows the present one."""
    sets = (observed.stateful_set(role) for role in Role)
    notes = (one["spec"]["template"]["metadata"].get("annotations", {}) for one in sets if one)
    return str(next((one[TOKEN_ANNOTATION] for one in notes if TOKEN_ANNOTATION in one), ""))


def _role(child: Object) -> Role:
    role = role_of(child["metadata"]["labels"])
    assert role is not None
    return role


def _lacks(observed: Observed, child: Object, roles: frozenset[Role]) -> bool:
    """Whether a child is a StatefulSet of one of `roles` that doesn't exist yet."""
    if child["kind"] != "StatefulSet" or _role(child) not in roles:
        return False
    return observed.stateful_set(_role(child)) is None


def _templated(observed: Observed, child: Object, refused: frozenset[Role]) -> Object:
    """A child whose template can't be made, with its live one."""
    if child["kind"] != "StatefulSet" or _role(child) not in refused:
        return child
    live = observed.stateful_set(_role(child))
    assert live is not None
    return kept(child, live)


def _avoiding(child: Object, nodes: Sequence[str]) -> Object:
    """The trainer's StatefulSet whose new pods avoid nodes, as long as others have room.

    Not part of the template's own hash: pods that run stay where they are.
    """
    if not nodes or _role(child) is not Role.TRAINER:
        return child
    return avoiding(child, nodes) if "template" in child["spec"] else child


def _renews(observed: Observed, lifecycle: Lifecycle) -> bool:
    """True if the job's pods are replaced, or made after it had none."""
    sizes = (observed.replicas(role) for role in lifecycle.replicas)
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
    annotations = {**meta.get("annotations", {}), RETRY_ANNOTATION: str(retry_period(now))}
    return {**child, "metadata": {**meta, "annotations": annotations}}


def retry_period(now: float) -> int:
    """Another number for each further attempt to make refused pods."""
    return int(now // REFUSED_SECONDS)
