"""Pods that the API server refuses to a StatefulSet: what the job says, and whether it waits.

A refusal is final if the same pods are refused until a person changes something: a quota that they
can never fit, an admission policy, a PodSecurity level, a missing PriorityClass. A quota that is
used up at the moment only makes the job wait.
"""

import re

from sea_api.contract import role_name
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_operator.observed import Observed
from sea_operator.plan import Blocker
from sea_operator.policies.drift import quantity
from sea_operator.resources.build import FIELDS, full_size

FINAL = ("is forbidden:", "is invalid:", "denied the request")
"""How answers begin that stay the same (403, 422, and a webhook's or a policy's no).

By words, since an Event has nothing else; what has none of them is an outage, such as a webhook
that doesn't answer.
"""
_COMBINED = re.compile(r"^\(combined from similar events\): ")
_PREFIX = re.compile(r"(?i)^create Pod \S+ in StatefulSet \S+ failed error: ")
_EXCEEDED = re.compile(r"exceeded quota: .*, requested: (.*), used: .*, limited: (.*)$")


def words(message: str) -> str:
    """The API server's own words in a FailedCreate Event's message."""
    return _PREFIX.sub("", _COMBINED.sub("", message)).strip()


def is_final(said: str, pods: int) -> bool:
    """Whether a set of `pods` pods is refused until a person changes something."""
    if found := _EXCEEDED.search(said):
        requested, limited = map(_amounts, found.groups())
        return any(_exceeds(requested.get(name), most, pods) for name, most in limited.items())
    return any(phrase in said for phrase in FINAL)


def blocker(observed: Observed, spec: Spec) -> Blocker | None:
    """The first role whose pods are refused for good."""
    for role, size in full_size(spec).items():
        said = observed.refusals.get(role)
        if said is not None and is_final(said, size):
            return Blocker("PodsForbidden", _sentence(observed, role, said))
    return None


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


def _exceeds(requested: str | None, limited: str, pods: int) -> bool:
    each, most = quantity(requested or "0"), quantity(limited)
    return each is not None and most is not None and each * pods > most
