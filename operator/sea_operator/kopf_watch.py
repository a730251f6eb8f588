"""kopf's part: it watches the jobs and feeds them to the cache; nothing else.

Only `on.event` handlers, which store no progress, add no finalizer and write no annotation.
Their errors would be swallowed, so all they do is to update the cache. Children come through
reflectors of our own; `kube/reflector.py` gives the reason.

kopf runs in a daemon thread with a loop of its own. It gives up when one namespace refuses to be
watched, cancels every task of its loop when it ends, and may hang while it does: none of that
reaches the passes, the lease or the end of the process. Here it is started again, with the
namespaces that may be watched.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import kopf

from sea_api.v1alpha1.job import GROUP, KIND, PLURAL, VERSION
from sea_operator.errors import KubeError, NoClusterError, NotFoundError, RejectedError
from sea_operator.kopf_diffs import NoDiffs, NoProgress
from sea_operator.kube.client import JOB, KubeClient
from sea_operator.kube.connection import configuration, for_kopf
from sea_operator.kube.reflector import Reflector, Store

log = logging.getLogger(__name__)

RESTART_SECONDS = 1.0
LOOK_SECONDS = 10.0
"""How late a namespace that may be watched again is noticed."""
STOP_SECONDS = 3.0
"""After which a kopf that doesn't end is left to itself."""


class KopfWatch:
    """Keeps kopf running; `namespaces` empty means all."""

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        namespaces: Sequence[str],
        random: Callable[[], float],
    ) -> None:
        self._store = store
        # A list before each start: kopf reports no deletion that happened while it didn't run.
        self._lists = {
            namespace: Reflector(client, JOB, namespace, "", store, random)
            for namespace in (namespaces or (None,))
        }

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            served = [name for name in self._lists if await self._may_list(name)]
            if served:
                await self._serve(served)
            await asyncio.sleep(RESTART_SECONDS)

    async def _serve(self, served: list[str | None]) -> None:
        """kopf for these namespaces, until it ends or another one may be watched again."""
        session = KopfThread(self._store, [name for name in served if name is not None])
        session.start()
        try:
            while not session.ended.is_set():
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await session.ended.wait()
                except TimeoutError:
                    others = [name for name in self._lists if name not in served]
                    if any([await self._may_list(name) for name in others]):
                        return
        finally:
            await session.stop()

    async def _may_list(self, namespace: str | None) -> bool:
        """Fills the cache with the jobs of a namespace, if it may be listed now."""
        known = self._lists[namespace]
        try:
            await known.fill()
        except (RejectedError, NotFoundError) as error:
            # Of this namespace alone, which may be gone with its RoleBinding.
            log.warning("jobs of namespace %s can't be watched: %s", namespace, error)
            return False
        except KubeError as error:
            log.warning("jobs can't be listed now: %s", error)
            return False
        return True


class KopfThread:
    """One run of kopf. Made and used in the main loop, into which its events are handed."""

    def __init__(self, store: Store, namespaces: Sequence[str]) -> None:
        self.ended = asyncio.Event()
        self._store = store
        self._namespaces = namespaces
        self._main = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._heard = True
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """Waits for its end, but not for long."""
        # A thread that hangs must not change the cache any more.
        self._heard = False
        self._in(self._loop, self._stop.set)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.ended.wait()
        except TimeoutError:
            log.warning("kopf doesn't end; it is left behind")

    def _run(self) -> None:
        """The thread."""
        try:
            self._loop.run_until_complete(self._operator())
        except Exception as error:
            log.warning("kopf ended: %s: %s", type(error).__name__, error)
        finally:
            self._loop.close()
            self._in(self._main, self.ended.set)

    async def _operator(self) -> None:
        await kopf.operator(
            registry=registry(self._hand_over),
            settings=settings(),
            clusterwide=not self._namespaces,
            namespaces=list(self._namespaces),
            standalone=True,
            stop_flag=self._stop,
        )

    def _hand_over(self, take: Callable[[Store], None]) -> None:
        self._in(self._main, lambda: take(self._store) if self._heard else None)

    @staticmethod
    def _in(loop: asyncio.AbstractEventLoop, work: Callable[[], Any]) -> None:
        try:
            loop.call_soon_threadsafe(work)
        except RuntimeError:  # the loop is closed: nobody needs it any more
            log.debug("a loop is closed")


def registry(hand_over: Callable[[Callable[[Store], None]], None]) -> kopf.OperatorRegistry:
    """Handlers on the jobs; `hand_over` runs its argument where the store lives."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return for_kopf(await configuration())

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers, id="job")
    async def job(type: str | None, body: Mapping[str, Any], **_: Any) -> None:  # noqa: A002
        # kopf passes a mapping view: `dict` takes the plain values out, which are compared and
        # stored. Type None is the first listing, or one after an interruption.
        live = dict(body)
        if type == "DELETED":
            hand_over(lambda store: store.remove(JOB, live))
        else:
            hand_over(lambda store: store.put(JOB, live))

    return handlers


def settings() -> kopf.OperatorSettings:
    """kopf without Events, without scanning, with watches that can't go silent forever.

    `queueing.worker_limit` stays unset: a worker keeps its slot for seconds after its last event,
    which starves everybody else. The bound on work is our own pool.
    """
    ours = kopf.OperatorSettings()
    # Events of a job are written by `report`; kopf would post its own log lines as Events.
    ours.posting.enabled = False
    ours.scanning.disabled = True
    ours.persistence.diffbase_storage = NoDiffs()
    ours.persistence.progress_storage = NoProgress()
    # The client's limit is larger, so that normally the server ends the watch. A connection that
    # died silently (a NAT that forgot it) is noticed after 250 s at the latest.
    # Short, since kopf's sockets aren't probed: a server that vanished without a word is noticed at
    # the end of its watch, and until then no edit of a job that has nothing to report.
    ours.watching.server_timeout = 60
    ours.watching.client_timeout = 70
    ours.watching.connect_timeout = 10
    ours.watching.chunk_size = 500
    ours.networking.request_timeout = 30
    ours.networking.connect_timeout = 10
    # Short: with one namespace that is refused kopf watches none, until it is started without it.
    ours.networking.error_backoffs = (1, 1, 2)
    ours.queueing.exit_timeout = 0.5
    return ours


async def crd_exists(
    client: KubeClient, namespaces: Sequence[str], stopping: asyncio.Event
) -> None:
    """Waits for the CRD: kopf looks for the resource only once, when it starts.

    Raises `NoClusterError` after ten minutes.
    """
    # At a request per second, with a log line every 15 s.
    for attempt in range(600):
        for namespace in namespaces or (None,):
            try:
                # A selector that no job has: asks whether the kind is served and
                # allowed, and returns nothing.
                await client.list(JOB, namespace, f"{GROUP}/none=none")
            except KubeError as error:
                if attempt % 15 == 0:
                    log.info("waiting for %s.%s: %s", KIND, f"{VERSION}.{GROUP}", error)
            else:
                # One is enough: a namespace that refuses concerns its own jobs.
                return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await stopping.wait()
                return
    raise NoClusterError(
        f"The API server doesn't serve {KIND} of {GROUP}/{VERSION} to this ServiceAccount; install "
        "the CRD (crds/*.yaml) and the operator's RBAC."
    )
