"""Wires the operator and runs it: election, watches, workers, kopf; stops cleanly on SIGTERM."""

import argparse
import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Awaitable, Sequence

import aiohttp
import kopf

from sea_api import logs
from sea_api.contract import JOB_LABEL, Env
from sea_api.v1alpha1.job import GROUP, KIND, VERSION
from sea_operator import settings as env
from sea_operator.cache import Cache, Key
from sea_operator.coordinator_link import CoordinatorLink, Resolver, by_pod_ip
from sea_operator.errors import KubeError, NoClusterError
from sea_operator.handlers import registry
from sea_operator.handlers import settings as kopf_settings
from sea_operator.kube.client import JOB, POD, SERVICE, STATEFUL_SET, KubeClient
from sea_operator.kube.connection import Connection
from sea_operator.kube.reflector import Reflector
from sea_operator.leader import Elector
from sea_operator.observe import Sources
from sea_operator.reconcile import Reconciler
from sea_operator.refusal_reader import RefusalReader
from sea_operator.secret_reader import SecretReader
from sea_operator.settings import Settings
from sea_operator.work_queue import Workers, WorkQueue

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m sea_operator`; returns the exit status."""
    logs.configure(role="operator")
    try:
        asyncio.run(serve(parse(arguments)))
    # 2, as for wrong usage: a restart doesn't help until a person changes something.
    except NoClusterError as error:
        log.error("%s", error)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def parse(arguments: Sequence[str] | None) -> Settings:
    """Settings from the command line and the environment."""
    parser = argparse.ArgumentParser(prog="sea_operator", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--namespace",
        action="append",
        default=[],
        help="serve this namespace only; may be repeated",
    )
    where.add_argument("--all-namespaces", action="store_true", help="serve all (the default)")
    parser.add_argument("--lease-namespace", help="namespace of the Lease (default: the pod's)")
    parser.add_argument(
        "--lease-name",
        default=Settings.lease_name,
        help="name of the Lease; operators of one name and namespace take turns",
    )
    parser.add_argument(
        "--health-port", type=int, default=Settings.health_port, help="port of /healthz"
    )
    parser.add_argument(
        "--identity", help=f"name in the Lease (default: {Env.POD_NAME}, or unique)"
    )
    parser.add_argument("--workers", type=int, default=16, help="passes at one time")
    given = parser.parse_args(arguments)
    own = env.own_namespace(os.environ)
    return Settings(
        images=env.images(os.environ),
        namespaces=tuple(given.namespace),
        identity=given.identity or env.identity(os.environ),
        lease_namespace=given.lease_namespace or own or "default",
        lease_name=given.lease_name,
        health_host=env.health_host(os.environ),
        health_port=given.health_port,
        workers=given.workers,
    )


async def serve(
    settings: Settings,
    *,
    resolve: Resolver = by_pod_ip,
    stop: asyncio.Event | None = None,
) -> None:
    """Runs until `stop` is set or a signal comes. Raises `NoClusterError`."""
    stopping = stop or asyncio.Event()
    client = KubeClient(await Connection.open())
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        await _crd_exists(client, settings)
        session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
        # The unguarded client: the guard asks the elector, which must be able to take the lease.
        elector = _elector(client, settings)
        queue: WorkQueue[Key] = WorkQueue(clock=time.monotonic, random=random.random)
        cache = Cache(queue.add)
        reflectors = _reflectors(client, cache, settings)
        guarded = client.guarded_by(elector.check)
        # Reads only, hence unguarded: what it knows is warm when this process starts to lead.
        secrets = SecretReader(client, time.monotonic)
        refusals = RefusalReader(client, time.monotonic)
        link = CoordinatorLink(session, resolve)
        sources = Sources(guarded, cache, secrets, link, refusals)
        gate = MayAct(reflectors, elector)
        reconciler = Reconciler(sources, settings, time.time, complete=gate.knows)
        workers = Workers(queue, reconciler, gate, settings.workers)
        parts = {"elector": elector.run, "workers": workers.run}
        parts |= {f"watch-{i}": one.run for i, one in enumerate(reflectors)}
        # kopf ends every task that begins after it, so ours begin before it.
        async with asyncio.TaskGroup() as group:
            ours = [
                group.create_task(_or_stop(run(), stopping), name=name)
                for name, run in parts.items()
            ]
            # Returns on SIGTERM or when a part sets `stopping`. Then the elector's `finally`
            # gives the lease back, after it has closed the guard for the passes that are
            # cancelled at the same time.
            await _watch(settings, cache, elector, stopping)
            for task in ours:
                task.cancel()


class MayAct:
    """The gate of passes: open while this process leads and its cache is complete.

    With a half-filled cache a new leader would treat children as missing and create them, or count
    pods as lost. A standby keeps its cache filled, so that it can take over at once. A namespace
    that may not be listed, for example since it was deleted with its RoleBinding, keeps only its
    own jobs waiting.
    """

    def __init__(self, reflectors: Sequence[Reflector], elector: Elector) -> None:
        self._reflectors = reflectors
        self._elector = elector

    async def wait(self) -> None:
        for reflector in self._reflectors:
            await reflector.answered.wait()
        # Last: the lease may be lost while a list takes its time.
        await self._elector.wait()

    def knows(self, namespace: str) -> bool:
        """Whether the cache has all children in a namespace."""
        ours = [one for one in self._reflectors if one.namespace in (None, namespace)]
        return all(one.synced.is_set() for one in ours)


def _reflectors(client: KubeClient, cache: Cache, settings: Settings) -> list[Reflector]:
    """Children by label; the jobs themselves come through kopf."""
    namespaces = settings.namespaces or (None,)
    return [
        Reflector(client, kind, namespace, JOB_LABEL, cache, random.random)
        for kind in (STATEFUL_SET, SERVICE, POD)
        for namespace in namespaces
    ]


def _elector(client: KubeClient, settings: Settings) -> Elector:
    return Elector(
        client,
        settings.lease_namespace,
        settings.identity,
        name=settings.lease_name,
        monotonic=time.monotonic,
        wall=time.time,
        random=random.random,
        times=settings.lease,
    )


async def _watch(
    settings: Settings, cache: Cache, elector: Elector, stopping: asyncio.Event
) -> None:
    """kopf until the end of the process."""

    def healthy() -> dict[str, object]:
        return {"identity": settings.identity, "leads": elector.leads}

    await kopf.operator(
        registry=registry(cache, healthy),
        settings=kopf_settings(),
        clusterwide=not settings.namespaces,
        namespaces=list(settings.namespaces),
        standalone=True,
        liveness_endpoint=f"http://{settings.health_host}:{settings.health_port}/healthz",
        stop_flag=stopping,
    )


async def _or_stop(work: Awaitable[None], stopping: asyncio.Event) -> None:
    """Stops the whole process if a part fails: the kubelet restarts it."""
    try:
        await work
    except Exception:
        log.exception("a part of the operator failed; stopping")
        raise
    finally:
        # Not only on errors: a part that returns has ended, and the others are useless without it.
        stopping.set()


async def _crd_exists(client: KubeClient, settings: Settings) -> None:
    """Waits for the CRD: kopf looks for the resource only once, when it starts."""
    namespace = settings.namespaces[0] if settings.namespaces else None
    # Ten minutes at a request per second, with a log line every 15 s.
    for attempt in range(600):
        try:
            # A selector that no job has: asks whether the kind is served and
            # allowed, and returns nothing.
            await client.list(JOB, namespace, f"{GROUP}/none=none")
        except KubeError as error:
            if attempt % 15 == 0:
                log.info("waiting for %s.%s: %s", KIND, f"{VERSION}.{GROUP}", error)
            await asyncio.sleep(1.0)
        else:
            return
    raise NoClusterError(
        f"The API server doesn't serve {KIND} of {GROUP}/{VERSION} to this ServiceAccount; install "
        "the CRD (crds/*.yaml) and the operator's RBAC."
    )
