"""What must hold before a job's pods are created; otherwise a sentence for the user. Pure.

A job that runs nothing waits for all of it. One that runs goes on with what it has: only the roles
whose pods need what is missing get no new ones, and nothing else waits for that. It is stalled by
what its stage needs; what only other stages need, a warning names.
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sea_api.contract import (
    OPENAI_API_KEY,
    S3_ACCESS_KEY,
    S3_SECRET_KEY,
    S3_SESSION_TOKEN,
    auth_secret,
    role_name,
)
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.roles import UserEngine
from sea_operator.observed import Blocker, Named, Observed, Same, is_leaving, is_ours
from sea_operator.policies import role_sizes
from sea_operator.resources.patch import secrets_of
from sea_operator.resources.role_settings import FIELDS, roles, template_of

S3_KEYS = (S3_ACCESS_KEY, S3_SECRET_KEY)
OPENAI_KEYS = (OPENAI_API_KEY,)

ALL = frozenset(Role)


class Needed(NamedTuple):
    """A field that names a Secret."""

    field: str
    name: str | None
    """None: the field names none."""
    keys: tuple[str, ...]
    """What the Secret must have."""
    roles: frozenset[Role]
    """Roles whose pods are started with it."""
    stage: int | None = None
    """The stage that it is for; None: every one that needs the roles."""


@dataclass(frozen=True)
class Unmet:
    """A prerequisite that isn't met."""

    blocker: Blocker
    roles: frozenset[Role] = ALL
    """Roles for which no pod can be made meanwhile."""
    taken: Named | None = None
    """The object of somebody else that has a child's name."""
    stage: int | None = None
    """The stage that it is for; None: every one that needs the roles."""
    refused: bool = False
    """An edit that can't be carried out: a person waits for it, whichever stage runs."""


def unmet(observed: Observed, spec: Spec) -> tuple[Unmet, ...]:
    """All prerequisites that aren't met, those of every job before those of its pods."""
    return (*_taken(observed, spec), *_token(observed), *_secrets(observed, spec))


def stalls(one: Unmet, observed: Observed, spec: Spec, index: int) -> bool:
    """Whether a running job lacks something for the stage at `index`, which runs."""
    # A name that is taken is looked at again only for a job that says so (`observe._strangers`).
    if one.refused or one.taken is not None:
        return True
    if one.stage is None:
        return _needs(one.roles, spec, index)
    # It is read when a pod starts: one that can't start stops every stage.
    began = any(pod.began for role in one.roles for pod in observed.of_role(role))
    return one.stage == index or not began


def needed_later(one: Unmet, spec: Spec, index: int) -> str:
    """What to say of something that the stage at `index` doesn't need."""
    later = range(index + 1, len(spec.stages))
    first = next(
        (i for i in later if (_needs(one.roles, spec, i) if one.stage is None else i == one.stage)),
        None,
    )
    stage = "No stage to come" if first is None else f"Not this stage but {spec.stages[first].name}"
    names = " and ".join(FIELDS[role] for role in FIELDS if role in one.roles)
    # A pod that runs goes on without it; none can be made.
    edits = f"; until it is there, edits of {names} wait, and its pod can't start again"
    return f"{one.blocker.message} {stage} needs it{edits if one.stage is not None else ''}."


def _needs(roles: frozenset[Role], spec: Spec, index: int) -> bool:
    sizes = role_sizes.sizes(spec, index)
    return any(sizes.get(role) for role in roles)


def runs(observed: Observed) -> bool:
    """Whether any of the job's StatefulSets asks for pods."""
    return any(
        kind == "StatefulSet" and is_ours(live, observed.job) and live["spec"].get("replicas", 1)
        for (kind, _), live in observed.children.items()
    )


def _taken(observed: Observed, spec: Spec) -> Iterable[Unmet]:
    job = observed.job
    for kind in ("Service", "StatefulSet"):
        for role in roles(spec):
            named = (kind, role_name(job.name, role))
            live = observed.children.get(named)
            # Children of a deleted job of the same name are `leaving`: no problem to
            # report, only a short wait.
            if live is not None and not is_ours(live, job) and not is_leaving(live, job):
                blocker = name_taken(kind, job.namespace, named[1])
                yield Unmet(blocker, frozenset({role}), named)


def _token(observed: Observed) -> Iterable[Unmet]:
    if blocker := token_problem(observed):
        yield Unmet(blocker)


def token_problem(observed: Observed) -> Blocker | None:
    """Why nobody knows the job's token, although it isn't for the operator to make one."""
    job, name = observed.job, auth_secret(observed.job.name)
    if observed.foreign_secret:
        return name_taken("Secret", job.namespace, name)
    if observed.broken_secret:
        return _broken(job.namespace, name)
    # None is known, and it can't be read whether there is one.
    return observed.unread[0] if observed.token_unread else None


def _broken(namespace: str, name: str) -> Blocker:
    return Blocker(
        "TokenMissing",
        f"Secret {namespace}/{name} holds no token that pods can use: its key token is missing, "
        "empty or has a character that no HTTP header can carry, such as a newline; delete the "
        "Secret, and the operator makes a new one and restarts the job's pods with it.",
    )


def name_taken(kind: str, namespace: str, name: str) -> Blocker:
    """Blocks a job that needs the name of somebody else's object."""
    return Blocker(
        "NameTaken",
        f"{kind} {namespace}/{name} exists but doesn't belong to this job, so the operator leaves "
        "it alone; delete or rename it, or give the job another name.",
    )


def _secrets(observed: Observed, spec: Spec) -> Iterable[Unmet]:
    """Secrets that the spec names and no pod can be started with."""
    for one in named_secrets(spec):
        if one.name and (blocker := _secret(observed, one.field, one.name, one.keys)):
            yield Unmet(blocker, one.roles, stage=one.stage)


def needed_secrets(spec: Spec) -> Mapping[str, frozenset[str]]:
    """Secrets that the spec names, and the keys that each must have."""
    return _needed(Same(spec))


# Asked for at each poll of each job, of which only the answer of the coordinator is news.
@functools.lru_cache(maxsize=1024)
def _needed(same: Same[Spec]) -> Mapping[str, frozenset[str]]:
    spec = same.value
    found: dict[str, frozenset[str]] = {}
    for one in (*named_secrets(spec), *patched_secrets(spec)):
        if one.name:
            found[one.name] = found.get(one.name, frozenset()) | frozenset(one.keys)
    return found


def patched_secrets(spec: Spec) -> list[Needed]:
    """Secrets from which a patch takes variables; the kubelet says if one is missing. Those that it
    mounts are kept up to date by the kubelet."""
    return [
        Needed(f"spec.{field}.template.patch", name, (), frozenset({role}))
        for role, field in FIELDS.items()
        for name in sorted(secrets_of(template_of(spec, role).patch))
    ]


def named_secrets(spec: Spec) -> list[Needed]:
    """The fields that name a Secret, one that names none too."""
    needed: list[Needed] = [
        Needed("spec.storage.credentialsSecret", spec.storage.credentials_secret, S3_KEYS, ALL)
    ]
    bundle = spec.storage.ca_bundle
    if bundle is not None and bundle.secret_name is not None:
        field = "spec.storage.caBundle.secretName"
        needed.append(Needed(field, bundle.secret_name, (bundle.key,), ALL))
    rollout, coordinator = frozenset({Role.ROLLOUT}), frozenset({Role.COORDINATOR})
    if spec.user_model.engine is UserEngine.EXTERNAL:
        key = spec.user_model.api_key_secret
        needed.append(Needed("spec.userModel.apiKeySecret", key, OPENAI_KEYS, rollout))
    if spec.verifier.judge is not None:
        key = spec.verifier.judge.api_key_secret
        needed.append(Needed("spec.verifier.judge.apiKeySecret", key, OPENAI_KEYS, rollout))
    for i, stage in enumerate(spec.stages):
        if stage.synthesis is not None and stage.synthesis.endpoint is not None:
            field = f"spec.stages[{i}].synthesis.endpoint.apiKeySecret"
            key = stage.synthesis.endpoint.api_key_secret
            needed.append(Needed(field, key, OPENAI_KEYS, coordinator, i))
    return needed


def _secret(observed: Observed, field: str, name: str, keys: tuple[str, ...]) -> Blocker | None:
    if name in observed.unread_secrets:
        return _unread(observed)
    where, listed = f"{observed.job.namespace}/{name}", _and(keys)
    noun = "keys" if len(keys) > 1 else "key"
    found = observed.secrets.get(name)
    if found is None:
        return Blocker(
            "SecretNotFound",
            f"Secret {where} that {field} names doesn't exist; create it with {noun} {listed} "
            "or change the field.",
        )
    if lacking := [key for key in keys if key not in found.keys]:
        return Blocker(
            "SecretIncomplete",
            f"Secret {where} that {field} names lacks {_and(lacking)}; add it to the Secret.",
        )
    # A session token is optional, and goes into a header as the others do.
    if flawed := [key for key in (*keys, S3_SESSION_TOKEN) if key in found.flaws]:
        return Blocker(
            "SecretUnusable",
            f"Key {flawed[0]} of Secret {where} that {field} names {found.flaws[flawed[0]]}; "
            "correct it in the Secret.",
        )
    return None


def _unread(observed: Observed) -> Blocker | None:
    """A job that runs goes on with the Secrets that its pods have; no other begins."""
    return None if runs(observed) else observed.unread[0]


def _and(words: Iterable[str]) -> str:
    return " and ".join(words)
