"""Which pods the operator deletes itself: outdated ones, and those that died with their node.

StatefulSets update OnDelete. The trainer is one gang and the coordinator is one pod, so outdated
ones go at once; engines go one by one, so that generation never stops for an update.
"""

from collections.abc import Mapping

from sea_api.contract import HASH_LABEL, role_name
from sea_api.v1alpha1.policy import Role
from sea_operator.observed import Observed, Pod

GANGS = frozenset({Role.TRAINER, Role.COORDINATOR})


def outdated(observed: Observed, hashes: Mapping[Role, str]) -> tuple[Pod, ...]:
    """Pods that were made from an older template than their StatefulSet has now."""
    found: list[Pod] = []
    for role, wanted in hashes.items():
        pods = observed.of_role(role)
        old = [pod for pod in pods if pod.template_hash != wanted and pod.deleted is None]
        # This pass sees the set as it was before its own apply: the pods go in the next one.
        if old and _set_is_current(observed, role, wanted):
            found += old if role in GANGS else _next(pods, old)
    return tuple(found)


def lost(observed: Observed, now: float, grace: float) -> tuple[Pod, ...]:
    """Pods whose deletion is overdue by `grace` seconds and whose node can't confirm it."""
    return tuple(
        pod
        for pod in observed.pods
        if pod.deleted is not None
        and pod.node in observed.dead_nodes
        # `deleted` already includes the pod's grace period: this is how long it's overdue.
        and now - pod.deleted >= grace
    )


def to_fence(pods: tuple[Pod, ...]) -> tuple[str, ...]:
    """Uids of lost pods that may still write to the object store.

    A new attempt is recorded before they are force-deleted: their commits then fail.
    """
    # Sorted: another order would be another status, and a write.
    return tuple(sorted(pod.uid for pod in pods if pod.role in GANGS))


def _set_is_current(observed: Observed, role: Role, wanted: str) -> bool:
    """Whether the StatefulSet has the new template; before, a deleted pod would get the old one."""
    live = observed.children.get(("StatefulSet", role_name(observed.job.name, role)))
    labels = live["spec"]["template"]["metadata"].get("labels", {}) if live else {}
    return bool(labels.get(HASH_LABEL) == wanted)


def _next(pods: tuple[Pod, ...], old: list[Pod]) -> list[Pod]:
    """All that aren't ready; a ready one only while all others are ready."""
    idle = [pod for pod in old if not pod.ready]
    if idle or any(not pod.ready or pod.deleted is not None for pod in pods):
        return idle
    return sorted(old, key=lambda pod: pod.name)[-1:]
