"""What a pass observes of a job: the cache, known Secrets and its coordinator's answer.

A job that doesn't change costs one request to its coordinator and none to the API server. The few
reads that must be fresh give the reason.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from sea_api.contract import role_label, role_name
from sea_api.v1alpha1.names import MANAGER
from sea_api.v1alpha1.policy import Role
from sea_operator import parsing
from sea_operator.cache import Cache, Key, View
from sea_operator.coordinator_link import Answer, CoordinatorLink
from sea_operator.errors import NotFoundError, RejectedError
from sea_operator.kube.client import JOB, NODE, SERVICE, STATEFUL_SET, Kind, KubeClient
from sea_operator.observed import Child, Children, Job, Named, Object, Observed, Pod, SecretSeen
from sea_operator.policies.prerequisites import needed_secrets
from sea_operator.policies.refused_pods import words
from sea_operator.refusal_reader import RefusalReader, ShortSet
from sea_operator.resources.build import roles
from sea_operator.secret_reader import SecretReader

KINDS = {kind.name: kind for kind in (STATEFUL_SET, SERVICE)}


@dataclass(frozen=True)
class Sources:
    """Where a pass reads from, and what its writes update."""

    client: KubeClient
    cache: Cache
    secrets: SecretReader
    link: CoordinatorLink
    refusals: RefusalReader


async def observe(sources: Sources, key: Key) -> Observed | None:
    """None if the job is gone, being deleted (the garbage collector deletes its children), or run
    by another controller (`spec.managedBy`)."""
    view = sources.cache.view(key)
    if view is not None and not view.job.deleting and _absent(view):
        # Fresh, since children are about to be made, and a deleted job must get none.
        await refresh(sources, view.job)
        view = sources.cache.view(key)
    if view is None or view.job.deleting or view.job.managed_by != MANAGER:
        sources.secrets.gone(*key)
        sources.link.forget(*key)
        sources.refusals.forget(*key)
        return None
    job = view.job
    names = needed_secrets(job.spec) if job.spec else {}
    # Before the reads below: it forgets what they would otherwise answer from.
    sources.secrets.note_spec(job, frozenset(names))
    absent = _absent(view)
    # asyncio lets the others finish if one raises; they only read.
    others, auth, secrets = await asyncio.gather(
        _strangers(sources.client, job, absent),
        sources.secrets.token(job),
        _secrets(sources.secrets, job, names),
    )
    # None for a Secret that isn't ours: a stranger's token is never sent to a pod.
    token = auth.token if auth else None
    answer = await _ask(sources, view, token)
    if answer.state is not None and answer.state.problem is not None:
        sources.secrets.doubt(job.namespace, names)
    refusals = await sources.refusals.words(key, short_sets(view))
    nodes = await _dead_nodes(sources.client, view.pods)
    return Observed(
        job=job,
        children=Children({**view.children, **others}),
        pods=view.pods,
        secrets=secrets,
        foreign_secret=auth is not None and not auth.ours and not auth.leaving,
        broken_secret=auth is not None and auth.ours and token is None,
        token=token,
        state=answer.state,
        unreachable=answer.unreachable,
        dead_nodes=frozenset(nodes),
        node_troubles=nodes,
        refusals={role: words(refusals[name]) for name, role in _sets(job) if name in refusals},
        revision=view.revision,
    )


def short_sets(view: View) -> dict[str, ShortSet]:
    """The StatefulSets with fewer pods than the last status asked for, by name."""
    found = {}
    for name, role in _sets(view.job):
        child = view.children.get((STATEFUL_SET.name, name))
        # Those that are being deleted too: their successor can't be made yet, and an old Event
        # would explain why.
        made = [pod for pod in view.pods if pod.role is role]
        # From the status: the live set would have to be read from its JSON in each pass.
        if child is not None and len(made) < _asked_for(view.job, role):
            newest = max((pod.created for pod in made), default=0.0)
            found[name] = ShortSet(view.job.namespace, child.uid, newest)
    return found


def _sets(job: Job) -> list[tuple[str, Role]]:
    return [(role_name(job.name, role), role) for role in roles(job.spec)] if job.spec else []


def _asked_for(job: Job, role: Role) -> int:
    last = job.status.roles
    counts = getattr(last, role_label(role)) if last else None
    return counts.desired if counts else 0


async def _ask(sources: Sources, view: View, token: str | None) -> Answer:
    if token is None:
        return Answer(unreachable="No token yet.")
    answer = await sources.link.state(view.job, view.pods, token)
    if answer.unauthorized:
        sources.secrets.refused(view.job)
    return answer


async def refresh(sources: Sources, job: Job) -> bool:
    """Reads the job into the cache; whether `job` is still right in all that a pass decides by.

    The watch may be late, above all after an interruption, and on a standby that has just become
    the leader. A deletion during an interruption even brings no event.
    """
    live = await _maybe(sources.client, JOB, job.namespace, job.name)
    if live is None:
        sources.cache.deleted(JOB, job.namespace, job.name, job.uid)
        return False
    # `put`, not `wrote`: a spec that the watch has not brought yet needs a pass of its own.
    sources.cache.put(JOB, live)
    now = parsing.job(live, job)
    # Not by resource version: another's annotations must not keep a pass from acting.
    return (now.uid, now.generation, now.stored_status, now.deleting) == (
        job.uid,
        job.generation,
        job.stored_status,
        False,
    )


async def _strangers(client: KubeClient, job: Job, absent: list[Named]) -> dict[Named, Child]:
    """Objects without our label that have a name which the job needs.

    Fresh, since watches show only what has the label, and applying would take over such an object.
    Asked only while the job lacks the child.
    """
    found = await asyncio.gather(
        *(_maybe(client, KINDS[kind], job.namespace, name) for kind, name in absent)
    )
    return {
        named: parsing.child({**live, "kind": named[0]})
        for named, live in zip(absent, found, strict=True)
        if live is not None
    }


def _absent(view: View) -> list[Named]:
    return [named for named in _needed(view.job) if named not in view.children]


def _needed(job: Job) -> Iterable[Named]:
    wanted = roles(job.spec) if job.spec else ()
    return [(kind, role_name(job.name, role)) for kind in KINDS for role in wanted]


async def _secrets(
    reader: SecretReader, job: Job, names: dict[str, frozenset[str]]
) -> dict[str, SecretSeen]:
    """The Secrets that the spec names."""
    found = await asyncio.gather(
        *(reader.look(job.namespace, name, keys) for name, keys in names.items())
    )
    return {name: seen for name, seen in zip(names, found, strict=True) if seen is not None}


async def _dead_nodes(client: KubeClient, pods: tuple[Pod, ...]) -> dict[str, str]:
    """Of the nodes whose pods should be gone or can't report, those that are gone or silent: what
    is wrong with each.

    Fresh, since it decides on force, and nodes aren't watched: every kubelet writes to its node
    all the time. No other node is read. An operator that may not read nodes takes none for dead.
    """
    suspects = sorted(
        {pod.node for pod in pods if pod.node and (pod.deleted is not None or pod.cut_off)}
    )
    try:
        nodes = await asyncio.gather(*(_maybe(client, NODE, None, name) for name in suspects))
    # 403 without the optional ClusterRole. Dead nodes only add a force-deletion, so go on without.
    except RejectedError:
        return {}
    pairs = zip(suspects, nodes, strict=True)
    found = {name: parsing.node_trouble(name, node) for name, node in pairs}
    return {name: trouble for name, trouble in found.items() if trouble}


async def _maybe(client: KubeClient, kind: Kind, namespace: str | None, name: str) -> Object | None:
    try:
        return await client.get(kind, namespace, name)
    except NotFoundError:
        return None
