"""What a pass observes of a job: the cache, known Secrets and its coordinator's answer.

A job that doesn't change costs one request to its coordinator and none to the API server. The few
reads that must be fresh give the reason. A read that fails stops nothing else.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sea_api.contract import auth_secret, role_label, role_name
from sea_api.v1alpha1.names import MANAGER
from sea_api.v1alpha1.policy import Role
from sea_operator import parsing
from sea_operator.cache import Cache, Key, View
from sea_operator.coordinator_link import Answer, CoordinatorLink
from sea_operator.errors import KubeError, NotFoundError, RejectedError, UnavailableError
from sea_operator.kube.client import JOB, SERVICE, STATEFUL_SET, Kind, KubeClient
from sea_operator.node_reader import NodeReader
from sea_operator.observed import (
    Blocker,
    Child,
    Children,
    GPUNode,
    Job,
    Named,
    Object,
    Observed,
    SecretSeen,
    is_ours,
)
from sea_operator.pass_slots import PassSlots
from sea_operator.pods import Pod
from sea_operator.policies.phase import condition
from sea_operator.policies.prerequisites import needed_secrets
from sea_operator.policies.refused_pods import words
from sea_operator.refusal_reader import RefusalReader, ShortSet
from sea_operator.resources.role_settings import gpus_of, roles
from sea_operator.secret_reader import SecretReader, TokenSecret

FAILURES = (RejectedError, UnavailableError)
KINDS = {kind.name: kind for kind in (STATEFUL_SET, SERVICE)}


@dataclass(frozen=True)
class Sources:
    """Where a pass reads from, and what its writes update."""

    client: KubeClient
    cache: Cache
    secrets: SecretReader
    link: CoordinatorLink
    refusals: RefusalReader
    nodes: NodeReader
    slots: PassSlots = field(default_factory=PassSlots)
    """Bounds the passes that talk to the API server at one time. A pass that waits for its
    coordinator holds none: one that doesn't answer keeps nobody else from being served."""


async def observe(sources: Sources, key: Key) -> Observed | None:
    """None if the job is gone, being deleted (the garbage collector deletes its children), or run
    by another controller (`spec.managedBy`).

    Raises nothing but `BusyError`: what can't be read is in `Observed.unread`.
    """
    view = sources.cache.view(key)
    if view is None or view.job.gone or view.job.managed_by != MANAGER:
        sources.secrets.gone(*key)
        sources.link.forget(*key)
        sources.refusals.forget(*key)
        return None
    if view.job.deleting:
        # Nothing is read and nobody asked: all that happens is that its pods are released.
        pods = own_pods(view.pods, view.children, view.job)
        return Observed(view.job, Children(view.children), pods=pods, revision=view.revision)
    async with sources.slots.of(view.job.namespace):
        known = await _read_all(sources, view)
    answer = await _ask(sources, view.job, known.pods, known.token)
    if answer.state is not None and answer.state.problem is not None:
        sources.secrets.doubt(view.job.namespace, known.secrets)
    return replace(
        known,
        state=answer.state,
        unreachable=answer.unreachable,
        ask_again_after=answer.ask_again_after,
    )


async def _read_all(sources: Sources, view: View) -> Observed:
    """Everything but the coordinator's answer; requests only for what isn't known."""
    job = view.job
    names = needed_secrets(job.spec) if job.spec else {}
    # Before the reads below: it forgets what they would otherwise answer from.
    sources.secrets.note_spec(job, frozenset(names))
    # One after the other: a poll knows all of it, and three tasks for that cost more than they do.
    strangers = await _strangers(sources.client, job, view)
    auth, unread_token = await _token(sources.secrets, job)
    secrets, unread = await _secrets(sources.secrets, job, names)
    found = {**view.children, **strangers}
    children, pods = Children(found), own_pods(view.pods, found, job)
    # None for a Secret that isn't ours: a stranger's token is never sent to a pod.
    token = auth.token if auth else None
    nodes = await sources.nodes.dead(pods)
    lacking = await _lacking(sources, job, view.children, pods)
    return Observed(
        job=job,
        children=children,
        accepted=view.accepted,
        pods=pods,
        secrets=secrets,
        foreign_secret=auth is not None and not auth.ours and not auth.leaving,
        broken_secret=auth is not None and auth.ours and token is None,
        token=token,
        unread=(*unread_token, *unread.values()),
        unread_secrets=frozenset(unread),
        token_unread=bool(unread_token) and token is None,
        refusals={role: words(said) for role, said in lacking.items() if said},
        lacking=frozenset(lacking),
        gpus=await sources.nodes.kinds(job.spec) if job.spec else {},
        dead_nodes=frozenset(nodes),
        node_troubles=nodes,
        gpu_nodes=await _gpu_nodes(sources, job, children),
        revision=view.revision,
    )


async def _gpu_nodes(
    sources: Sources, job: Job, children: Mapping[Named, Object]
) -> tuple[GPUNode, ...] | None:
    """All nodes with GPUs, while a role that needs some has no pods yet."""
    if job.spec is None:
        return None
    needing = [role_name(job.name, role) for role in roles(job.spec) if gpus_of(job.spec, role)]
    sets = (children.get((STATEFUL_SET.name, name)) for name in needing)
    starting = [live for live in sets if not (live and is_ours(live, job) and _replicas(live))]
    return await sources.nodes.with_gpus() if starting else None


def _replicas(live: Object) -> int:
    return int(live["spec"].get("replicas", 1))


async def _lacking(
    sources: Sources, job: Job, children: Mapping[Named, Child], pods: tuple[Pod, ...]
) -> dict[Role, str]:
    """Roles that have had too few pods for a while, and why, if the API server refuses them."""
    found = await sources.refusals.words((job.namespace, job.name), short_sets(job, children, pods))
    return {role: found[name] for name, role in _sets(job) if name in found}


def short_sets(
    job: Job, children: Mapping[Named, Child], pods: tuple[Pod, ...]
) -> dict[str, ShortSet]:
    """The StatefulSets with fewer pods than the last status asked for, by name."""
    found = {}
    for name, role in _sets(job):
        # Those that are being deleted too: their successor can't be made yet, and an old Event
        # would explain why.
        made = [pod for pod in pods if pod.role is role]
        # From the status: the live set would have to be read from its JSON in each pass.
        child = children.get((STATEFUL_SET.name, name))
        if child and (job.name, job.uid) in child.jobs and len(made) < _asked_for(job, role):
            newest = max((pod.created for pod in made), default=0.0)
            found[name] = ShortSet(job.namespace, child.uid, newest)
    return found


def _sets(job: Job) -> list[tuple[str, Role]]:
    return [(role_name(job.name, role), role) for role in roles(job.spec)] if job.spec else []


def _asked_for(job: Job, role: Role) -> int:
    """Pods of a role; of an elastic one all that are asked for, since missing ones are news too."""
    last = job.status.roles
    counts = getattr(last, role_label(role)) if last else None
    size, elastic = (counts.desired if counts else 0), job.elastic(role)
    return max(size, elastic.asked) if size and elastic else size


async def _ask(sources: Sources, job: Job, pods: tuple[Pod, ...], token: str | None) -> Answer:
    if token is None:
        return Answer(unreachable="No token yet.")
    answer = await sources.link.state(job, pods, token)
    if answer.unauthorized:
        sources.secrets.refused(job)
    return answer


async def refresh(sources: Sources, job: Job) -> bool:
    """Reads the job into the cache; whether `job` is still right in all that a pass decides by.

    The watch may be late, above all after an interruption, and on a standby that has just become
    the leader. A deletion during an interruption even brings no event.
    """
    live = await read(sources.client, JOB, job.namespace, job.name)
    if live is None:
        sources.cache.deleted(JOB, job.namespace, job.name, job.uid)
        return False
    if live["metadata"]["resourceVersion"] == job.resource_version:
        return True  # no write since, of anything
    # `put`, not `wrote`: a spec that the watch has not brought yet needs a pass of its own.
    sources.cache.put(JOB, live)
    now = parsing.job(live, job)
    # Not by resource version: another's annotations must not keep a pass from acting.
    return (now.uid, now.generation, now.stored_status, now.deleting) == (
        job.uid,
        job.generation,
        job.stored_status,
        job.deleting,
    )


async def _strangers(client: KubeClient, job: Job, view: View) -> dict[Named, Child]:
    """Objects that have a name which the job needs and that no watch shows, without our label.

    Fresh, and only for a job whose status says that it met one (`apply.py` meets them, since it
    creates no object under a name that is taken): it goes on when they are gone.
    """
    stalled = condition(job.status, "Stalled")
    if stalled is None or stalled.reason != "NameTaken":
        return {}
    absent = _absent(view)
    found = await asyncio.gather(
        *(read(client, KINDS[kind], job.namespace, name) for kind, name in absent),
        return_exceptions=True,
    )
    # One that can't be read is met again.
    return {
        named: parsing.child({**live, "kind": named[0]})
        for named, live in zip(absent, found, strict=True)
        if isinstance(live, dict)
    }


def own_pods(pods: tuple[Pod, ...], children: Mapping[Named, Child], job: Job) -> tuple[Pod, ...]:
    """Pods that a StatefulSet of this very job owns.

    A label is no proof: pods of an earlier job of this name may linger, and anybody may set it.
    """
    sets = {
        child.uid
        for (kind, _), child in children.items()
        if kind == STATEFUL_SET.name and (job.name, job.uid) in child.jobs
    }
    return tuple(pod for pod in pods if pod.owner in sets)


def _absent(view: View) -> list[Named]:
    return [named for named in _needed(view.job) if named not in view.children]


def _needed(job: Job) -> Iterable[Named]:
    wanted = roles(job.spec) if job.spec else ()
    return [(kind, role_name(job.name, role)) for kind in KINDS for role in wanted]


async def _token(reader: SecretReader, job: Job) -> tuple[TokenSecret | None, tuple[Blocker, ...]]:
    """The Secret with the job's token; the one known before while it can't be read."""
    try:
        return await reader.token(job), ()
    except FAILURES as error:
        return reader.last_token(job), (_unread(job.namespace, auth_secret(job.name), error),)


async def _secrets(
    reader: SecretReader, job: Job, names: Mapping[str, frozenset[str]]
) -> tuple[dict[str, SecretSeen], dict[str, Blocker]]:
    """The Secrets that the spec names, and why others can't be read."""
    unread: dict[str, Blocker] = {}
    looked = {name: reader.known(job.namespace, name, keys) for name, keys in names.items()}
    known = {name: seen for name, seen in looked.items() if seen is not None}
    missing = {name: keys for name, keys in names.items() if name not in known}
    if not missing:
        return known, unread
    looks = (reader.look(job.namespace, name, keys) for name, keys in missing.items())
    found = await asyncio.gather(*looks, return_exceptions=True)
    for name, seen in zip(missing, found, strict=True):
        match seen:
            case SecretSeen():
                known[name] = seen
            case RejectedError() | UnavailableError():
                unread[name] = _unread(job.namespace, name, seen)
            case BaseException():
                raise seen
    return known, unread


def _unread(namespace: str, name: str, error: KubeError) -> Blocker:
    transient = not isinstance(error, RejectedError)
    hint = "It is tried again." if transient else "Allow the operator to get it."
    message = f"Secret {namespace}/{name} can't be read: {error} {hint}"
    return Blocker("SecretUnreadable", message, transient)


async def read(client: KubeClient, kind: Kind, namespace: str | None, name: str) -> Object | None:
    """A fresh read; None if there is no such object. Raises `KubeError`."""
    try:
        return await client.get(kind, namespace, name)
    except NotFoundError:
        return None
