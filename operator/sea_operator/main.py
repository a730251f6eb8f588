"""Wires the operator and runs it: election, watches, workers, kopf, HTTP; ends on SIGTERM."""

import argparse
import asyncio
import contextlib
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import aiohttp

from sea_api import logs
from sea_api.contract import JOB_LABEL, Env
from sea_operator import metrics, web
from sea_operator import settings as env
from sea_operator.cache import Cache, Key
from sea_operator.coordinator_link import CoordinatorLink, Resolver, by_pod_ip
from sea_operator.errors import NoClusterError
from sea_operator.kopf_watch import KopfWatch, crd_exists
from sea_operator.kube import tls_buffers
from sea_operator.kube.client import DISRUPTION_BUDGET, POD, SERVICE, STATEFUL_SET, KubeClient
from sea_operator.kube.connection import Connection
from sea_operator.kube.reflector import Reflector
from sea_operator.leader import Elector
from sea_operator.lease_thread import LeaseThread
from sea_operator.metrics import PassMetrics
from sea_operator.node_reader import NodeReader
from sea_operator.observe import Sources
from sea_operator.pass_slots import PassSlots
from sea_operator.reconcile import Reconciler
from sea_operator.refusal_reader import RefusalReader
from sea_operator.secret_reader import SecretReader
from sea_operator.settings import Settings
from sea_operator.work_queue import WorkQueue
from sea_operator.workers import Workers

log = logging.getLogger(__name__)

EXIT_SECONDS = 20.0
"""From SIGTERM, or the end of a part, to the end of the process, whatever hangs. A pod's grace
period is 30 s."""


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
        "--health-port",
        type=int,
        default=Settings.health_port,
        help="port of /healthz and /metrics",
    )
    parser.add_argument(
        "--identity", help=f"name in the Lease (default: {Env.POD_NAME}, or unique)"
    )
    parser.add_argument(
        "--fixed-nodes",
        action="store_true",
        help="no autoscaler adds nodes: a job whose pods need more GPUs than any node has is "
        "Stalled before they are made",
    )
    parser.add_argument("--workers", type=int, default=16, help="passes that write at one time")
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
        fixed_nodes=given.fixed_nodes,
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
    _stop_on_signals(stopping)
    tls_buffers.install()
    client = KubeClient(await Connection.open())
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        await crd_exists(client, settings.namespaces, stopping)
        # No limit: the default of 100 connections would let coordinators that don't answer keep all
        # others from being asked.
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        )
        elector = _lease(settings)
        queue: WorkQueue[Key] = WorkQueue(clock=time.monotonic, random=random.random)
        cache, passes = Cache(queue.add), PassMetrics()

        async def scraped() -> bytes:
            # A thread: with thousands of jobs the text takes longer than a pass may wait.
            now = partial(metrics.page, passes, cache.jobs(), queue.lateness, leads=elector.leads)
            return await asyncio.to_thread(now)

        await web.serve(stack, settings, elector, scraped)
        reflectors = _reflectors(client, cache, settings)
        guarded = client.guarded_by(elector.check)
        # Reads only, hence unguarded: what it knows is warm when this process starts to lead.
        secrets = SecretReader(client, time.monotonic)
        refusals = RefusalReader(client, time.monotonic)
        link = CoordinatorLink(session, resolve)
        nodes = NodeReader(client, time.monotonic, fixed=settings.fixed_nodes)
        slots = PassSlots(settings.workers)
        sources = Sources(guarded, cache, secrets, link, refusals, nodes, slots)
        gate = MayAct(reflectors, elector)
        reconciler = Reconciler(sources, settings, time.time, complete=gate.knows)
        workers = Workers(queue, reconciler, gate, ended=passes.ended)
        kopf = KopfWatch(client, cache, settings.namespaces, random.random)
        parts = {"elector": elector.run, "workers": workers.run, "kopf": kopf.run}
        parts |= {f"watch-{i}": one.run for i, one in enumerate(reflectors)}
        await _run_parts(stack, parts, stopping)


async def _run_parts(
    stack: contextlib.AsyncExitStack,
    parts: Mapping[str, Callable[[], Awaitable[None]]],
    stopping: asyncio.Event,
) -> None:
    """All parts by name, until `stopping` is set."""
    async with asyncio.TaskGroup() as group:
        ours = [
            group.create_task(_or_stop(run(), stopping), name=name) for name, run in parts.items()
        ]
        # Set by a signal, or by a part that ends: the lease never outlives the workers. The
        # elector's `finally` gives it back, after it has closed the guard for the passes that
        # are cancelled at the same time.
        await stopping.wait()
        # A part that hangs now would leave a process that serves nothing, and looks alive.
        stack.callback(_end_soon().cancel)
        for task in ours:
            task.cancel()


def _stop_on_signals(stopping: asyncio.Event) -> None:
    """SIGTERM and SIGINT stop the process; whatever hangs then, it is gone within its grace."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()

    def stop(number: int, _: object) -> None:
        _end_soon()
        loop.call_soon_threadsafe(stopping.set)

    # Not `loop.add_signal_handler`: a loop that hangs would never run it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _end_soon() -> threading.Timer:
    """Ends the process in `EXIT_SECONDS`, from a thread that no loop can hold up."""
    end = threading.Timer(EXIT_SECONDS, os._exit, (1,))
    # A daemon: it ends with the process if that ends by itself.
    end.daemon = True
    end.start()
    return end


class MayAct:
    """The gate of passes: open while this process leads and its cache is complete.

    With a half-filled cache a new leader would treat children as missing and create them, or count
    pods as lost. A standby keeps its cache filled, so that it can take over at once. A namespace
    that may not be listed, for example since it was deleted with its RoleBinding, keeps only its
    own jobs waiting.
    """

    def __init__(self, reflectors: Sequence[Reflector], elector: LeaseThread) -> None:
        self._reflectors = reflectors
        self._elector = elector

    @property
    def leads(self) -> bool:
        return self._elector.leads

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
        for kind in (STATEFUL_SET, SERVICE, DISRUPTION_BUDGET, POD)
        for namespace in namespaces
    ]


def _lease(settings: Settings) -> LeaseThread:
    main = asyncio.get_running_loop()

    # An unguarded client: the guard asks the elector, which must be able to take the lease.
    async def connect() -> KubeClient:
        return KubeClient(await Connection.open())

    def elect(client: KubeClient, moves: Callable[[], bool]) -> Elector:
        return Elector(
            client,
            settings.lease_namespace,
            settings.identity,
            name=settings.lease_name,
            monotonic=time.monotonic,
            wall=time.time,
            random=random.random,
            times=settings.lease,
            moves=moves,
            tell=main.call_soon_threadsafe,
        )

    return LeaseThread(connect, elect, time.monotonic, settings.lease.deadline)


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
