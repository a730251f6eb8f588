"""Wires the node agent: reflectors in, a worker per pod, everything stopped in order at the end."""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

import aiohttp

from sea_devcluster.errors import DevclusterError
from sea_devcluster.logfiles import shorten_all

from .api import ApiClient, Reflector, load_connection
from .config import NodeConfig
from .context import AddressPool, NodeContext
from .events import EventRecorder
from .hosts_files import HostsKeeper
from .kube_json import Json, namespaced_name, utc_now
from .pod_worker import PodWorker, pod_folder
from .process import kill_leftovers
from .references import References
from .registration import NodeRegistration
from .sandbox import find_bwrap
from .server import KubeletServer

log = logging.getLogger(__name__)

START_SECONDS = 240.0
"""Below the limit of `up`, so that the sentence about what failed is the agent's."""
LEAVE_SECONDS = 10.0
"""For a slow API server: one that is gone refuses at once."""
AGAIN_SECONDS = 1.0
LOG_LOOK_SECONDS = 10.0


class NodeAgent:
    """One node. `run` until `stop` is set: registers, runs pods, and leaves no process behind."""

    def __init__(self, config: NodeConfig, now: Callable[[], datetime] = utc_now) -> None:
        self.ready = asyncio.Event()
        self._config = config
        self._now = now
        self._workers: dict[str, tuple[PodWorker, asyncio.Task[None]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, stop: asyncio.Event) -> None:
        """The whole life of the agent; DevclusterError if it can't even start."""
        bwrap = find_bwrap()
        self._clean_up()
        async with (
            ApiClient(load_connection(self._config.kubeconfig)) as api,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
        ):
            context = self._make_context(api, session, bwrap)
            server = KubeletServer(self._config, self._find, self._now)
            await server.start()
            registration = NodeRegistration(api, self._config, server.port, self._now)
            try:
                await _until_answered(registration.register)
                await self._start(context, registration)
                self.ready.set()
                log.info("Node %s runs pods", self._config.node_name)
                await stop.wait()
            finally:
                await self._stop(registration)
                await server.stop()

    def _make_context(
        self, api: ApiClient, session: aiohttp.ClientSession, bwrap: str
    ) -> NodeContext:
        config = self._config
        events = EventRecorder(api, config.node_name, self._now)
        return NodeContext(
            config=config,
            api=api,
            references=References(api),
            events=events,
            addresses=AddressPool(config.pod_subnet),
            names=HostsKeeper(api, events, config.hosts, config.api_host),
            session=session,
            bwrap=bwrap,
            now=self._now,
        )

    async def _start(self, context: NodeContext, registration: NodeRegistration) -> None:
        pods = Reflector(
            context.api,
            "/api/v1/pods",
            lambda old, new: self._pod_changed(context, old, new),
            fieldSelector=f"spec.nodeName={self._config.node_name}",
        )
        for work in (
            registration.run,
            context.events.run,
            context.names.run,
            context.names.services.run,
            context.names.pods.run,
            pods.run,
            self._bound_logs,
        ):
            self._spawn(work)
        try:
            async with asyncio.timeout(START_SECONDS):
                await pods.synced.wait()
        except TimeoutError:
            raise DevclusterError(
                f"The API server gave no list of pods for {START_SECONDS:.0f} s; look at its log."
            ) from None
        self._forget_old_pods()

    def _pod_changed(self, context: NodeContext, old: Json | None, new: Json | None) -> None:
        if new is None:
            assert old is not None, "a change has an old or a new object"
            known = self._workers.get(old["metadata"]["uid"])
            if known:
                known[0].gone()
            return
        known = self._workers.get(new["metadata"]["uid"])
        if known is None:
            worker = PodWorker(context, new)
            task = asyncio.ensure_future(worker.run())
            self._workers[worker.uid] = (worker, task)
            task.add_done_callback(lambda _: self._workers.pop(worker.uid, None))
            known = (worker, task)
            log.info("Pod %s (%s) is bound to this node", namespaced_name(new), worker.uid)
        known[0].update(new)

    def _find(self, namespace: str, name: str) -> PodWorker | None:
        """The newest pod of that name."""
        for worker, _ in reversed(list(self._workers.values())):
            metadata = worker.pod["metadata"]
            if (metadata["namespace"], metadata["name"]) == (namespace, name):
                return worker
        return None

    def _clean_up(self) -> None:
        """What an agent that was killed left: processes (normally none) and memory volumes."""
        self._config.root.mkdir(parents=True, exist_ok=True)
        killed = kill_leftovers(self._config.root / "pods")
        if killed:
            log.warning("Ended %d containers that an agent before this one left behind", killed)
        shutil.rmtree(self._config.memory_folder, ignore_errors=True)

    def _forget_old_pods(self) -> None:
        """Folders of pods that were deleted while no agent ran."""
        pods = self._config.root / "pods"
        for folder in pods.iterdir() if pods.is_dir() else []:
            if folder.name not in self._workers:
                shutil.rmtree(pod_folder(self._config.root, folder.name), ignore_errors=True)

    async def _bound_logs(self) -> None:
        """Cut the daemons' logs, this agent's own among them, before they fill the disk."""
        config = self._config
        while config.component_logs is not None:
            limit = config.component_log_bytes
            await asyncio.to_thread(shorten_all, config.component_logs, limit)
            await asyncio.sleep(LOG_LOOK_SECONDS)
        await asyncio.Event().wait()

    async def _stop(self, registration: NodeRegistration) -> None:
        """End all containers, say goodbye, forget the rest."""
        workers = list(self._workers.values())
        for task in self._tasks:
            task.cancel()
        grace = self._config.stop_grace_seconds
        await asyncio.gather(
            *[worker.abandon(grace) for worker, _ in workers], return_exceptions=True
        )
        for _, task in workers:
            task.cancel()
        await asyncio.gather(*self._tasks, *[task for _, task in workers], return_exceptions=True)
        shutil.rmtree(self._config.memory_folder, ignore_errors=True)
        with contextlib.suppress(DevclusterError, TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await registration.leave()

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.append(asyncio.ensure_future(kept_running(work)))


async def _until_answered(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Retry while the API server is still starting."""
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while True:
        try:
            await work()
        except DevclusterError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            log.info("The node isn't registered yet: %s", error)
            await asyncio.sleep(0.3)
        else:
            return


async def kept_running(
    work: Callable[[], Coroutine[Any, Any, None]], pause: float = AGAIN_SECONDS
) -> None:
    """`work` until cancelled: a node without its watch or its heartbeat is worse than none."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("A task of the node agent broke; it starts again")
        await asyncio.sleep(pause)
