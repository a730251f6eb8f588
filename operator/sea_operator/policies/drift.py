"""Which children to apply, which to remove and which pods to replace, to match the spec.

A pass must not write without need. The API server fills in defaults, and others may add their own
labels or list entries, so the question is whether everything we want is there, not whether the
objects are equal.

StatefulSets update OnDelete. The trainer is one gang and the coordinator is one pod, so outdated
ones go at once; engines go one by one, so that generation never stops for an update.
"""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from sea_api.contract import HASH_LABEL
from sea_api.v1alpha1.policy import Role
from sea_operator.kube.client import DISRUPTION_BUDGET, SERVICE, STATEFUL_SET
from sea_operator.observed import Object, Observed, digest, is_leaving, is_ours
from sea_operator.plan import Removal
from sea_operator.pods import Pod

FINEST = Decimal("0.001")
"""The API server keeps amounts in thousandths, rounded up."""
GANGS = frozenset({Role.TRAINER, Role.COORDINATOR})
"""Roles whose outdated pods are replaced together."""
KINDS = {kind.name: kind for kind in (STATEFUL_SET, SERVICE, DISRUPTION_BUDGET)}


def due(observed: Observed, wanted: list[Object]) -> list[Object]:
    """Children that are missing or differ; one that is being deleted must be gone first."""
    return [child for child in wanted if _is_due(observed, child)]


def strays(observed: Observed, wanted: list[Object]) -> list[Removal]:
    """The job's own children that its spec no longer asks for."""
    names = {(child["kind"], child["metadata"]["name"]) for child in wanted}
    return [
        Removal(KINDS[kind], name, live["metadata"]["uid"])
        for (kind, name), live in observed.children.items()
        if (kind, name) not in names
        and is_ours(live, observed.job)
        and not is_leaving(live, observed.job)
    ]


def _is_due(observed: Observed, child: Object) -> bool:
    live = observed.children.get((child["kind"], child["metadata"]["name"]))
    if live is None:
        return True
    # A child that is being deleted can't be changed back; its DELETED event brings the next pass.
    if is_leaving(live, observed.job):
        return False
    # What a mutating admission policy made of the child stays: the same apply would have
    # the same answer at every pass. Once anybody else changes the object it is due.
    # First, since a digest costs a fifth of the comparison, and most children are as applied.
    named = (child["kind"], child["metadata"]["name"])
    accepted = observed.accepted.get(named)
    return (accepted is None or accepted != digest(child)) and not is_subset(live, child)


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


def _set_is_current(observed: Observed, role: Role, wanted: str) -> bool:
    """Whether the StatefulSet has the new template; before, a deleted pod would get the old one."""
    live = observed.stateful_set(role)
    labels = live["spec"]["template"]["metadata"].get("labels", {}) if live else {}
    return bool(labels.get(HASH_LABEL) == wanted)


def _next(pods: tuple[Pod, ...], old: list[Pod]) -> list[Pod]:
    """All that aren't ready; a ready one only while all others are ready."""
    idle = [pod for pod in old if not pod.ready]
    if idle or any(not pod.ready or pod.deleted is not None for pod in pods):
        return idle
    return sorted(old, key=lambda pod: pod.name)[-1:]


def without_emptied(live: Any, wanted: Any) -> Any:
    """`wanted` without its empty objects and lists where `live` has content.

    Server-side apply would make null of such an object, which the API server then refuses. Left
    out, our fields in it are removed all the same, and it goes with the last of them.
    """
    if isinstance(wanted, dict) and isinstance(live, dict):
        return {
            key: without_emptied(live.get(key), value)
            for key, value in wanted.items()
            if value not in ({}, []) or not live.get(key)
        }
    if isinstance(wanted, list) and isinstance(live, list):
        by_name = {_name(entry): entry for entry in live if _name(entry)}
        return [without_emptied(by_name.get(_name(entry)), entry) for entry in wanted]
    return wanted


def is_subset(live: Any, wanted: Any) -> bool:
    """Whether `live` has everything of `wanted`, at any depth.

    Lists of named objects (containers, env, ports, volumes) match by name and may have more;
    other lists must match entry by entry.
    """
    # Most parts are equal, and comparing them at once is twenty times faster than entry by entry.
    if live == wanted:
        return True
    if isinstance(wanted, dict):
        return isinstance(live, dict) and _has_keys(live, wanted)
    if isinstance(wanted, list):
        return isinstance(live, list) and _has_entries(live, wanted)
    return _same_quantity(live, wanted)


def _has_keys(live: Object, wanted: Object) -> bool:
    return all(is_subset(live.get(key, _empty(value)), value) for key, value in wanted.items())


def _empty(wanted: Any) -> Any:
    """The API server drops empty maps and lists: absent means empty."""
    return type(wanted)() if wanted in ({}, []) else None


def _has_entries(live: list[Any], wanted: list[Any]) -> bool:
    if wanted and all(_name(entry) for entry in wanted):
        # By name, because admission webhooks insert entries (sidecars, tokens) at any place.
        by_name = {_name(entry): entry for entry in live}
        return all(is_subset(by_name.get(_name(entry)), entry) for entry in wanted)
    return len(live) == len(wanted) and all(map(is_subset, live, wanted))


def _name(entry: Any) -> str | None:
    """What identifies an entry; volume mounts go by path, since one volume may be mounted twice."""
    if not isinstance(entry, dict):
        return None
    return entry.get("mountPath") or entry.get("name")


def _same_quantity(live: Any, wanted: Any) -> bool:
    """`1024Mi` is `1Gi`, and 4 is `4`: the API server rewrites amounts in its own way."""
    is_number = isinstance(wanted, int | float) and not isinstance(wanted, bool)
    if not (isinstance(live, str) and (is_number or isinstance(wanted, str))):
        return False
    # Both must be amounts: other texts differ unless they are equal, which was checked before.
    amounts = (quantity(live), quantity(str(wanted)))
    return None not in amounts and amounts[0] == amounts[1]


def quantity(text: str) -> Decimal | None:
    """An amount as the API server keeps it; None for other text."""
    try:
        return Decimal(parse_quantity(text)).quantize(FINEST, ROUND_CEILING)
    except (ValueError, InvalidOperation):
        return None
