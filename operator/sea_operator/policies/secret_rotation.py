"""Secrets that changed after pods were started with them, and when the pods take the new values.

A pod reads its Secrets once, when it starts. A change alone restarts nothing: the pods that hold
the old values are replaced at the next attempt of the trainer (which goes back to a checkpoint
anyway), after a suspension, or at once while the coordinator reports a problem, since a job that
can't go on has nothing to lose and a wrong key may be the reason.
"""

import functools
import hashlib
from collections.abc import Mapping

from sea_api.contract import SECRETS_ANNOTATION
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.wire.state import Severity
from sea_operator.observed import Observed, Same
from sea_operator.pods import Pod
from sea_operator.policies.prerequisites import named_secrets, patched_secrets
from sea_operator.resources.role_settings import FIELDS, roles

ENGINES = frozenset({Role.ROLLOUT, Role.USER})


def digests(
    observed: Observed, spec: Spec, frozen: frozenset[Role] = frozenset()
) -> Mapping[Role, str]:
    """What may be seen of the Secrets that each role's pods are started with: enough to notice a
    change. Roles without a Secret are left out.

    Args:
        frozen: roles that keep the values that they have: with today's, no pod could be started.
    """
    named = _secrets(spec)
    found = {
        role: _stored(observed, role) if role in frozen else _digest(observed, role, names)
        for role, names in named.items()
    }
    return {role: digest for role, digest in found.items() if digest}


def outdated(observed: Observed, wanted: Mapping[Role, str]) -> tuple[Pod, ...]:
    """Pods that were started with other values than the Secrets have now."""
    return tuple(
        pod
        for pod in observed.pods
        if pod.deleted is None
        and pod.role is not None
        # None: made by a release that didn't note it, and nothing says that it is outdated.
        and pod.secrets_digest is not None
        and pod.role in wanted
        and pod.secrets_digest != wanted[pod.role]
    )


def due(observed: Observed, pods: tuple[Pod, ...], *, restarts: bool) -> tuple[Pod, ...]:
    """Outdated pods to replace now; `restarts`: a new attempt begins anyway."""
    problem = observed.state.problem if observed.state else None
    if restarts or (problem is not None and problem.severity is Severity.ERROR):
        return pods
    if problem is None:
        return ()
    # A warning, such as an endpoint that refuses a key: training may go on, but engines lose
    # nothing that isn't generated again.
    return tuple(pod for pod in pods if pod.role in ENGINES)


def note(observed: Observed, spec: Spec, pods: tuple[Pod, ...]) -> str | None:
    """What to say of outdated pods that wait."""
    if not pods:
        return None
    waiting = [role for role in roles(spec) if any(pod.role is role for pod in pods)]
    named = _secrets(spec)
    names = sorted({name for role in waiting for name in named[role]})
    listed = ", ".join(f"{observed.job.namespace}/{name}" for name in names)
    blocks = ", ".join(FIELDS[role] for role in waiting)
    return (
        f"Pods of {blocks} hold older values than {listed}: they take the new ones with the next "
        "attempt, or when the job is suspended and resumed."
    )


def _secrets(spec: Spec) -> Mapping[Role, list[str]]:
    """Names of the Secrets that each role's pods are started with, sorted."""
    return _by_role(Same(spec))


@functools.lru_cache(maxsize=256)
def _by_role(same: Same[Spec]) -> Mapping[Role, list[str]]:
    spec = same.value
    needed = [one for one in (*named_secrets(spec), *patched_secrets(spec)) if one.name]
    return {
        role: sorted({one.name for one in needed if one.name and role in one.roles})
        for role in roles(spec)
    }


def _digest(observed: Observed, role: Role, names: list[str]) -> str | None:
    seen = [observed.secrets[name].digest for name in names if name in observed.secrets]
    if len(seen) < len(names):
        # One can't be read now, or is missing behind a patch: that is no change.
        return _stored(observed, role)
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:12] if names else None


def _stored(observed: Observed, role: Role) -> str | None:
    """The digest in the role's live StatefulSet."""
    live = observed.stateful_set(role)
    meta = live["spec"]["template"]["metadata"] if live else {}
    found = meta.get("annotations", {}).get(SECRETS_ANNOTATION)
    return str(found) if found else None
