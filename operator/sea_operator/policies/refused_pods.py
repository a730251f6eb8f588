"""Pods that the API server refuses to a StatefulSet: what the job says, and whether it waits.

A refusal is final if the same pods are refused until a person changes something: a quota that they
can never fit, an admission policy, a PodSecurity level, a missing PriorityClass. A quota that is
used up at the moment only makes the job wait.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial

from sea_api.contract import role_name
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_operator.observed import Blocker, Object, Observed, is_ours
from sea_operator.policies import elastic
from sea_operator.policies.drift import quantity
from sea_operator.resources.role_settings import FIELDS, full_size

FINAL = ("is forbidden:", "is invalid:", "denied the request")
"""How answers begin that stay the same (403, 422, and a webhook's or a policy's no).

By words, since an Event has nothing else; what has none of them is an outage, such as a webhook
that doesn't answer.
"""
NOTHING = Decimal(0)
_COMBINED = re.compile(r"^\(combined from similar events\): ")
_PREFIX = re.compile(r"(?i)^create (?:Claim \S+ )?Pod \S+ in StatefulSet \S+ failed error: ")
_EXCEEDED = re.compile(r"exceeded quota: .*, requested: (.*), used: .*, limited: (.*)$")


def words(message: str) -> str:
    """The API server's own words in a FailedCreate Event's message."""
    return _PREFIX.sub("", _COMBINED.sub("", message)).strip()


def is_final(said: str, pods: int, needed: Callable[[str], Decimal] = lambda name: NOTHING) -> bool:
    """Whether a set of `pods` pods is refused until a person changes something.

    `needed`: what all pods of the job need of a resource, by its name in quotas.
    """
    if found := _EXCEEDED.search(said):
        requested, limited = map(_amounts, found.groups())
        return any(
            max(_amount(requested.get(name, "0")) * pods, needed(name)) > _amount(most)
            for name, most in limited.items()
        )
    return any(phrase in said for phrase in FINAL)


def needed_by_job(observed: Observed, least: Mapping[Role, int], name: str) -> Decimal:
    """What all pods of the job need of a resource that a quota limits.

    A quota that has room for each pod, but not for all, makes the job wait for itself. Of an
    elastic role the smallest size counts (`least`): it asks for more to see if there is room.
    """
    bounds = {role_name(observed.job.name, role): size for role, size in least.items()}
    total = NOTHING
    for (kind, child), live in observed.children.items():
        if kind == "StatefulSet" and is_ours(live, observed.job):
            replicas = int(live["spec"].get("replicas", 1))
            pods = min(replicas, bounds.get(child, replicas))
            total += pods * _of_pod(live["spec"]["template"]["spec"], name)
    return total


def _of_pod(pod: Object, name: str) -> Decimal:
    if name in ("pods", "count/pods"):
        return Decimal(1)
    kind, _, resource = name.partition(".") if "." in name else ("requests", "", name)
    return sum((_of_container(one, kind, resource) for one in pod["containers"]), NOTHING)


def _of_container(container: Object, kind: str, resource: str) -> Decimal:
    amounts = container.get("resources") or {}
    # Kubernetes requests the limit where only that is given.
    found = (amounts.get(kind) or {}).get(resource)
    return _amount(found or (amounts.get("limits") or {}).get(resource) or "0")


def blocker(observed: Observed, spec: Spec) -> Blocker | None:
    """The first role whose pods are refused for good."""
    least = elastic.least(spec, full_size(spec))
    needed = partial(needed_by_job, observed, least)
    for role, size in least.items():
        said = observed.refusals.get(role)
        if said is None or _works(observed, role):
            continue
        if is_final(said, size, needed):
            return Blocker("PodsForbidden", _sentence(observed, role, said))
    return None


def _works(observed: Observed, role: Role) -> bool:
    """Whether an elastic role has the pods that it works with, and only more are refused."""
    elastic, made = observed.job.elastic(role), observed.of_role(role)
    return elastic is not None and sum(pod.deleted is None for pod in made) >= elastic.size


def _sentence(observed: Observed, role: Role, said: str) -> str:
    job, field = observed.job, FIELDS[role]
    worker = f", spec.{field}.worker" if role in (Role.ROLLOUT, Role.USER) else ""
    return (
        f"StatefulSet {job.namespace}/{role_name(job.name, role)} may not make its pods: "
        f"{said.rstrip('.')}. Change what it objects to (spec.scheduling, spec.{field}.template"
        f"{worker}), or have the quota or the policy of the namespace changed."
    )


def _amounts(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name.strip(): amount.strip() for name, _, amount in pairs}


def _amount(text: str) -> Decimal:
    """Zero for what is no amount: an unknown resource stalls nothing."""
    return quantity(text) or NOTHING
