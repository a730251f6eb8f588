"""One read of a job and everything around it; the only place where a pass looks at the world."""

import asyncio
from collections.abc import Iterable

from sea_api.contract import auth_secret, role_name, selector
from sea_api.v1alpha1.job import Spec
from sea_operator import parsing
from sea_operator.children.desired import roles
from sea_operator.children.secret import token_of
from sea_operator.coordinator_link import Answer, CoordinatorLink
from sea_operator.kube.client import KubeClient
from sea_operator.kube.errors import NotFoundError, RejectedError
from sea_operator.kube.kinds import JOB, NODE, POD, SECRET, SERVICE, STATEFUL_SET, Kind
from sea_operator.observed import Job, Named, Object, Observed, Pod, is_leaving, is_ours


async def observe(
    client: KubeClient, link: CoordinatorLink, namespace: str, name: str
) -> Observed | None:
    """What is there, None if the job is gone or going: the garbage collector does the rest."""
    live = await _maybe(client, JOB, namespace, name)
    if live is None or "deletionTimestamp" in live["metadata"]:
        return None
    job = parsing.job(live)
    children, pods, auth, secrets = await asyncio.gather(
        _children(client, job),
        _pods(client, job),
        _maybe(client, SECRET, namespace, auth_secret(name)),
        _secrets(client, job),
    )
    ours = auth is not None and is_ours(auth, job)
    token = token_of(auth) if auth and ours else None
    answer = await link.state(job, pods, token) if token else Answer(unreachable="No token yet.")
    return Observed(
        job=job,
        children=children,
        pods=pods,
        secrets=secrets,
        foreign_secret=auth is not None and not ours and not is_leaving(auth, job),
        broken_secret=ours and token is None,
        token=token,
        state=answer.state,
        unreachable=answer.unreachable,
        dead_nodes=await _dead_nodes(client, pods),
    )


async def _children(client: KubeClient, job: Job) -> dict[Named, Object]:
    """All that carry our label, and whatever else sits on a name that the job needs."""
    lists = await asyncio.gather(
        *(client.list(kind, job.namespace, selector(job.name)) for kind in (STATEFUL_SET, SERVICE))
    )
    found = {(live["kind"], live["metadata"]["name"]): live for group in lists for live in group}
    absent = [key for key in _needed(job) if key not in found]
    others = await asyncio.gather(
        *(_maybe(client, _KINDS[kind], job.namespace, name) for kind, name in absent)
    )
    return found | {key: live for key, live in zip(absent, others, strict=True) if live}


_KINDS = {kind.name: kind for kind in (STATEFUL_SET, SERVICE)}


def _needed(job: Job) -> Iterable[Named]:
    wanted = roles(job.spec) if job.spec else ()
    return [(kind, role_name(job.name, role)) for kind in _KINDS for role in wanted]


async def _pods(client: KubeClient, job: Job) -> tuple[Pod, ...]:
    found = await client.list(POD, job.namespace, selector(job.name))
    return tuple(parsing.pod(live) for live in sorted(found, key=_name))


def _name(live: Object) -> str:
    return str(live["metadata"]["name"])


async def _secrets(client: KubeClient, job: Job) -> dict[str, frozenset[str]]:
    """Keys, never values, of the Secrets that the spec names."""
    names = _named_secrets(job.spec) if job.spec else []
    found = await asyncio.gather(*(_maybe(client, SECRET, job.namespace, name) for name in names))
    pairs = zip(names, found, strict=True)
    return {name: frozenset(live.get("data", {})) for name, live in pairs if live is not None}


def _named_secrets(spec: Spec) -> list[str]:
    judge = spec.verifier.judge
    names = [spec.storage.credentials_secret, spec.user_model.api_key_secret]
    names.append(judge.api_key_secret if judge else None)
    makers = [stage.synthesis.endpoint for stage in spec.stages if stage.synthesis is not None]
    names += [endpoint.api_key_secret for endpoint in makers if endpoint is not None]
    return sorted({name for name in names if name})


async def _dead_nodes(client: KubeClient, pods: tuple[Pod, ...]) -> frozenset[str]:
    """Of the nodes whose pods should be gone, those that are gone or silent.

    No other node is read. An operator that may not read nodes takes none for dead.
    """
    suspects = sorted({pod.node for pod in pods if pod.node and pod.deleted is not None})
    try:
        nodes = await asyncio.gather(*(_maybe(client, NODE, None, name) for name in suspects))
    except RejectedError:
        return frozenset()
    pairs = zip(suspects, nodes, strict=True)
    return frozenset(name for name, node in pairs if node is None or parsing.is_dead(node))


async def _maybe(client: KubeClient, kind: Kind, namespace: str | None, name: str) -> Object | None:
    try:
        return await client.get(kind, namespace, name)
    except NotFoundError:
        return None
