"""Wires the node agent: watches pods, runs a worker per pod, stops everything in order."""

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
from .hosts_files import HostsFiles
from .kube_json import Json, namespaced_name, utc_now
from .pod_worker import PodWorker, pod_folder
from .process import kill_leftovers
from .references import References
from .registration import NodeRegistration
from .sandbox import find_bwrap
from .server import KubeletServer

log = logging.getLogger(__name__)

START_TIMEOUT_SECONDS = 240.0
"""Below the time-out of `up`, so that the user sees the agent's own error."""
LEAVE_TIMEOUT_SECONDS = 10.0
"""For a slow API server; one that is down refuses at once."""
RESTART_SECONDS = 1.0
LOG_CHECK_SECONDS = 10.0


class NodeAgent:
    """One node: registers, runs pods until it is stopped, and leaves no process behind."""

    def __init__(self, config: NodeConfig, now: Callable[[], datetime] = utc_now) -> None:
        self._config = config
        self._now = now
        self._workers: dict[str, tuple[PodWorker, asyncio.Task[None]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Runs the agent until `stop` is set; DevclusterError if it can't start."""
        bwrap = find_bwrap()
        # Before anything runs: later, sandboxes and memory volumes could be this agent's own.
        self._clean_up()
        async with (
            ApiClient(load_connection(self._config.kubeconfig)) as api,
            # force_close: a probe over a kept connection could reach a container that has been
            # replaced.
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
        ):
            context = self._make_context(api, session, bwrap)
            server = KubeletServer(self._config, self._find, self._now)
            # Before the registration: the Node's status carries the server's port.
            await server.start()
            registration = NodeRegistration(api, self._config, server.port, self._now)
            try:
                if await finished_before(stop, self._start(context, registration)):
                    log.info("Node %s is ready to run pods", self._config.node_name)
                    await stop.wait()
            finally:
                # Pods first: until they have ended, `kubectl logs` still works.
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
            names=HostsFiles(api, events, config.hosts, config.api_host),
            session=session,
            bwrap=bwrap,
            now=self._now,
        )

    async def _start(self, context: NodeContext, registration: NodeRegistration) -> None:
        """Registers the node and watches its pods; returns once they are known."""
        await _until_answered(registration.register)
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
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                # A complete list: until then pods of this node look as if they were deleted.
                await pods.synced.wait()
        except TimeoutError:
            raise DevclusterError(
                "The API server gave no list of pods for "
                f"{START_TIMEOUT_SECONDS:.0f} s; look at its log."
            ) from None
        # Only after the list: every folder without a worker is of a deleted pod then.
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
            # By UID: a pod that is created again under its name is another pod.
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
        """Removes what a killed agent left: sandboxes (normally none) and memory volumes."""
        self._config.root.mkdir(parents=True, exist_ok=True)
        killed = kill_leftovers(self._config.root / "pods")
        if killed:
            log.warning("Killed %d containers that an earlier agent left behind", killed)
        shutil.rmtree(self._config.memory_folder, ignore_errors=True)

    def _forget_old_pods(self) -> None:
        """Removes folders of pods that were deleted while no agent ran."""
        pods = self._config.root / "pods"
        for folder in pods.iterdir() if pods.is_dir() else []:
            if folder.name not in self._workers:
                shutil.rmtree(pod_folder(self._config.root, folder.name), ignore_errors=True)

    async def _bound_logs(self) -> None:
        """Truncates the daemons' logs, including this agent's, before they fill the disk."""
        config = self._config
        while config.component_logs is not None:
            limit = config.component_log_bytes
            await asyncio.to_thread(shorten_all, config.component_logs, limit)
            await asyncio.sleep(LOG_CHECK_SECONDS)
        await asyncio.Event().wait()

    async def _stop(self, registration: NodeRegistration) -> None:
        """Stops all containers and marks the Node NotReady."""
        workers = list(self._workers.values())
        # Watches first: no pod may be started while the others are stopped.
        for task in self._tasks:
            task.cancel()
        grace = self._config.stop_grace_seconds
        # All pods at once, within one grace period.
        await asyncio.gather(
            *[worker.abandon(grace) for worker, _ in workers], return_exceptions=True
        )
        # Cancel only after `abandon`: cancelled workers would leave containers behind.
        for _, task in workers:
            task.cancel()
        await asyncio.gather(*self._tasks, *[task for _, task in workers], return_exceptions=True)
        shutil.rmtree(self._config.memory_folder, ignore_errors=True)
        with contextlib.suppress(DevclusterError, TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT_SECONDS):
                # Last, and best effort: the API server may be stopping as well.
                await registration.leave()

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.append(asyncio.ensure_future(kept_running(work)))


async def _until_answered(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Retries while the API server is still starting."""
    deadline = asyncio.get_running_loop().time() + START_TIMEOUT_SECONDS
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


async def finished_before(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Runs `work`; cancels it and returns False if `stop` is set first."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working  # raises what it raised
        return working.done()
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def kept_running(
    work: Callable[[], Coroutine[Any, Any, None]], pause: float = RESTART_SECONDS
) -> None:
    """Restarts `work` until cancelled: a node without its watch or heartbeat is worse than none."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("A task of the node agent failed; restarting it")
        await asyncio.sleep(pause)
