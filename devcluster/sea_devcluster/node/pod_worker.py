"""One pod, from its binding to this node until it is gone from the API server."""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

from sea_devcluster.errors import ApiError, ApiUnreachableError, DevclusterError

from .admission import not_started, refusals
from .context import NodeContext
from .environment import PodFacts
from .exit_status import Backoff, after_exit
from .kube_json import Json, namespaced_name, parse_timestamp
from .launch import PodSetup
from .logs import ContainerLog
from .pod_containers import PodContainers
from .references import PodTokens
from .status import PodView, pod_status
from .status_publisher import StatusPublisher
from .volumes import PodVolumes, VolumeFolders

log = logging.getLogger(__name__)

UNSUPPORTED = "UnsupportedByDevcluster"
RETRY_SECONDS = 1.0


class PodWorker:
    """Runs one pod (one UID): `run` is its whole life, `update` and `gone` report changes to it."""

    def __init__(self, context: NodeContext, pod: Json) -> None:
        self.pod = pod
        self.uid: str = pod["metadata"]["uid"]
        self.containers: PodContainers | None = None
        self._context = context
        self._folder = pod_folder(context.config.root, self.uid)
        self._volume_folders = VolumeFolders(
            self._folder / "volumes", context.config.memory_folder / self.uid
        )
        self._address: str | None = None
        self._failure: tuple[str, str] | None = None
        self._start_time = (
            parse_timestamp((pod.get("status") or {}).get("startTime")) or context.now()
        )
        self._ending = False
        self._gone = False
        self._reported: set[str] = set()
        self._ended = asyncio.Event()
        """Set when deletion was requested or the object is gone."""
        # Loop time at which SIGKILL is due.
        self._kill_at: float | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._publisher = StatusPublisher(context.api, pod, self._status)

    async def run(self) -> None:
        """Runs the pod to its end and deletes it; cancelled only when the agent stops."""
        # Before the containers: the first status must not wait for an image or a Secret.
        publishing = asyncio.ensure_future(self._publisher.run())
        try:
            if not is_terminal(self.pod):
                await self._retry_errors(self._live, until=self._ended)
            self._publisher.changed()
            # A pod that has run to its end stays until it is deleted.
            await self._ended.wait()
            # An event that is never set: leaving is retried until it succeeds.
            await self._retry_errors(self._leave, until=asyncio.Event())
        finally:
            publishing.cancel()
            self._context.names.remove(self.uid)
            # Last: a new pod must not get the address while this one may still use it.
            self._context.addresses.release(self.uid)

    def update(self, pod: Json) -> None:
        """Takes a newer version of the object, which matters mostly for its deletion."""
        self.pod = pod
        for sentence in not_started(pod):
            if sentence not in self._reported:
                self._reported.add(sentence)
                self._context.events.record(pod, "Warning", UNSUPPORTED, sentence)
        if pod["metadata"].get("deletionTimestamp"):
            self._end_within(float(pod["metadata"].get("deletionGracePeriodSeconds") or 0))

    def gone(self) -> None:
        """The object was deleted by force: kills the containers at once."""
        self._gone = True
        self._end_within(0.0)

    async def abandon(self, grace: float) -> None:
        """The agent stops: ends the processes and leaves the pod to the next agent."""
        if self.containers is not None:
            await self.containers.stop(grace)

    def log_of(self, container: str) -> ContainerLog:
        """The log of a container, even of a pod that ended before this agent started."""
        runner = self.containers.find(container) if self.containers else None
        if runner is not None:
            return runner.log
        folder = self._folder / "containers" / container / "logs"
        return ContainerLog(folder, self._context.config.log_bytes, self._context.now)

    def waits_to_restart(self, container: str) -> bool:
        """True if the newest run has ended and is already the last state, as during back-off."""
        runner = self.containers.find(container) if self.containers else None
        return runner is not None and bool(runner.record.waiting and runner.record.last)

    def _end_within(self, grace: float) -> None:
        """Requests the end within `grace` seconds; a later call can only shorten that."""
        kill_at = asyncio.get_running_loop().time() + grace
        # Half a second of tolerance: each update of the object repeats the request with a fresh
        # clock.
        if self._kill_at is not None and kill_at >= self._kill_at - 0.5:
            return
        sooner = self._kill_at is not None
        self._kill_at = kill_at
        self._ended.set()
        # The first request is served by `_live`; a shorter one has to overtake its wait.
        if sooner and self.containers is not None:
            self._spawn(self.containers.stop(grace))

    async def _retry_errors(
        self, work: Callable[[], Coroutine[Any, Any, None]], until: asyncio.Event
    ) -> None:
        """Repeats `work` with a container's back-off while it raises, as a kubelet syncs.

        `until` ends the wait between two attempts, and with it the attempts.
        """
        loop, backoff = asyncio.get_running_loop(), Backoff()
        while True:
            began = loop.time()
            try:
                await work()
            except Exception as error:
                self._report(error)
            else:
                return
            if self.containers is not None:
                await self._end_all(self.containers)
            backoff, seconds = after_exit(self._context.backoff, backoff, loop.time() - began)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, self._context.backoff.start)):
                    await until.wait()
                    return

    def _report(self, error: Exception) -> None:
        name = namespaced_name(self.pod)
        if isinstance(error, (OSError, DevclusterError)):
            log.warning("Pod %s can't be set up: %s; retrying", name, error)
            reason, message = "FailedCreatePodSandBox", str(error)
        else:
            log.error("The worker of pod %s failed; restarting it", name, exc_info=error)
            reason = "FailedSync"
            message = f"error syncing pod, trying again: {type(error).__name__}: {error}"
        self._context.events.record(self.pod, "Warning", reason, message)

    async def _end_all(self, containers: PodContainers) -> None:
        """Stops all containers: none may run without a watcher."""
        try:
            await containers.stop(self._grace())
        except Exception:
            log.exception("Containers of pod %s weren't stopped", namespaced_name(self.pod))

    async def _live(self) -> None:
        """Starts the pod and returns when all of its containers have ended."""
        # Before the set-up: nothing of a refused pod may be created.
        refused = refusals(self.pod)
        if refused:
            self._fail(UNSUPPORTED, " ".join(refused))
            return
        setup = self._set_up()
        self.containers = PodContainers(self._context, setup, self._publisher.changed)
        self._publisher.changed()
        working = asyncio.ensure_future(self.containers.run())
        # Together with the containers: tokens expire while they run.
        refreshing = asyncio.ensure_future(self._refresh(setup))
        over = asyncio.ensure_future(self._ended.wait())
        try:
            done, _ = await asyncio.wait(
                {working, over}, timeout=self._seconds_left(), return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                self._fail("DeadlineExceeded", "Pod was active longer than activeDeadlineSeconds.")
            if working not in done:
                # Before the stop: from now on the status treats no container as one that will
                # restart.
                self._ending = True
                await self.containers.stop(self._grace())
            await working
        finally:
            for task in (working, refreshing, over):
                task.cancel()

    def _set_up(self) -> PodSetup:
        """Creates the pod's address, folders and hosts file."""
        # The address that an earlier agent gave it: peers may know it.
        wanted = (self.pod.get("status") or {}).get("podIP")
        self._address = self._context.addresses.claim(self.uid, wanted)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._volume_folders.create()
        tokens = PodTokens(self._context.api, self.pod, self._context.now)
        setup = PodSetup(
            pod=self.pod,
            facts=PodFacts(self._address, self._context.config.address),
            folder=self._folder,
            volumes=PodVolumes(self.pod, self._volume_folders, self._context.references, tokens),
            volume_folders=self._volume_folders,
        )
        # After the address is known and the folder exists, before any container binds the file.
        self._context.names.add(self.pod, self._address, setup.hosts_file)
        return setup

    async def _refresh(self, setup: PodSetup) -> None:
        """Refreshes files made from Secrets, ConfigMaps and tokens."""
        while True:
            await asyncio.sleep(self._context.config.refresh_seconds)
            try:
                await setup.volumes.prepare(setup.facts)
            except (DevclusterError, OSError) as error:
                log.info("Volumes of %s not refreshed: %s", namespaced_name(self.pod), error)
            except Exception:
                log.exception("Volumes of %s not refreshed", namespaced_name(self.pod))

    def _seconds_left(self) -> float | None:
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        if limit is None:
            return None
        deadline = self._start_time + timedelta(seconds=float(limit))
        return max(0.0, (deadline - self._context.now()).total_seconds())

    def _grace(self) -> float:
        if self._kill_at is None:
            return float(self.pod["spec"].get("terminationGracePeriodSeconds", 30))
        return max(0.0, self._kill_at - asyncio.get_running_loop().time())

    def _fail(self, reason: str, message: str) -> None:
        self._failure = (reason, message)
        self._context.events.record(self.pod, "Warning", reason, message)
        self._publisher.changed()

    def _status(self, previous: Json) -> Json:
        if is_terminal(self.pod) and self.containers is None and self._failure is None:
            return previous
        running = self.containers
        view = PodView(
            pod=self.pod,
            records=running.records() if running else [],
            init_records=running.init_records() if running else [],
            pod_ip=self._address,
            host_ip=self._context.config.address,
            start_time=self._start_time,
            failure=self._failure,
            ending=self._ending,
        )
        return pod_status(view, previous, self._context.now())

    async def _leave(self) -> None:
        """Removes the pod from the API server and from this node."""
        # The API server first: the folders hold what `kubectl logs` shows as long as the object
        # exists.
        await self._finalize()
        self._context.names.remove(self.uid)
        await asyncio.to_thread(self._volume_folders.remove)
        await asyncio.to_thread(_remove, self._folder)

    async def _finalize(self) -> None:
        """Reports the end and deletes the object, retrying until the API server accepts it."""
        metadata = self.pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        # The UID as precondition: a new pod of the same name must not be deleted.
        body: Json = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        while not self._gone:
            try:
                # Status before deletion: controllers read the outcome (exit codes) from the last
                # version.
                await self._last_status()
                await self._context.api.delete(path, body)
                return
            except ApiError as error:
                # 404: gone already. 409: the name belongs to another UID now.
                if error.status in {404, 409}:
                    return
                log.warning("Pod %s not deleted: %s", namespaced_name(self.pod), error)
            except ApiUnreachableError as error:
                log.warning("Pod %s not deleted: %s", namespaced_name(self.pod), error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _last_status(self) -> None:
        """Writes the last status; one that can't be computed must not keep the pod Terminating."""
        try:
            await self._publisher.flush()
        except DevclusterError:
            raise
        except Exception:
            log.exception("The last status of pod %s can't be computed", namespaced_name(self.pod))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def is_terminal(pod: Json) -> bool:
    """True if a pod has ended: nothing of it runs again."""
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def pod_folder(root: Path, uid: str) -> Path:
    """Folder with everything of one pod."""
    return root / "pods" / uid


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
