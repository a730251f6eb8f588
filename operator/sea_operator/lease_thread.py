"""Runs the elector in a thread of its own, so that no renewal waits behind passes.

With thousands of jobs one round of the main loop may take seconds, and a renewal needs several of
them: the operator lost its lease just when it had most to do. Thread, loop and connection here
serve the lease alone, and renew it only while the main loop moves: a process that hangs loses its
lease as any other does.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable

from sea_operator.errors import NotLeadingError
from sea_operator.kube.client import KubeClient
from sea_operator.leader import RELEASE_SECONDS, Elector

BEAT_SECONDS = 0.5

Elect = Callable[[KubeClient, Callable[[], bool]], Elector]
"""Makes the elector, of a client and of whether the process still does its work."""


class LeaseThread:
    """What the main loop sees of the elector.

    Args:
        connect: opens a connection of the thread's own.
        elect: called in the thread.
        monotonic: seconds.
        deadline: seconds without a beat of the main loop after which it counts as hung.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[KubeClient]],
        elect: Elect,
        monotonic: Callable[[], float],
        deadline: float,
    ) -> None:
        self._connect, self._elect = connect, elect
        self._monotonic, self._deadline = monotonic, deadline
        self._main = asyncio.get_running_loop()
        self._elector: Elector | None = None
        self._made, self._ended = asyncio.Event(), asyncio.Event()
        self._beat = monotonic()
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped = threading.Event()
        self._closed = False

    @property
    def leads(self) -> bool:
        """Whether our lease is fresh enough to act on."""
        return not self._closed and self._elector is not None and self._elector.leads

    async def wait(self) -> None:
        """Waits until this process leads."""
        await self._made.wait()
        assert self._elector is not None
        await self._elector.wait()

    def check(self) -> None:
        """Raises `NotLeadingError`; asked before every write (`Elector.check`)."""
        if self._closed or self._elector is None:
            raise NotLeadingError("The operator starts or ends, so this write is not sent.")
        self._elector.check()

    async def run(self) -> None:
        """Runs until cancelled, then gives the lease back. Raises what the thread raised."""
        threading.Thread(target=self._run, name="lease", daemon=True).start()
        try:
            async with asyncio.TaskGroup() as group:
                beating = group.create_task(self._keep_beating())
                await self._ended.wait()
                beating.cancel()
        finally:
            # First: no pass that is being cancelled writes while the lease is given back.
            self._closed = True
            await self._stop()
        if self._error is not None:
            raise self._error

    async def _keep_beating(self) -> None:
        while True:
            self._beat = self._monotonic()
            await asyncio.sleep(BEAT_SECONDS)

    async def _stop(self) -> None:
        self._stopped.set()
        if self._task is not None:
            # The loop may have ended by itself.
            with contextlib.suppress(RuntimeError):
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS + BEAT_SECONDS):
                await self._ended.wait()

    def _moves(self) -> bool:
        """Whether the main loop does."""
        return self._monotonic() - self._beat < self._deadline

    def _run(self) -> None:
        """The thread."""
        try:
            asyncio.run(self._serve())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # for `run` to raise
            self._error = error
        finally:
            # RuntimeError: the main loop is closed, and nobody waits.
            with contextlib.suppress(RuntimeError):
                self._main.call_soon_threadsafe(self._ended.set)

    async def _serve(self) -> None:
        self._task = asyncio.current_task()
        # Stopped before there was a task to cancel.
        if self._stopped.is_set():
            return
        client = await self._connect()
        try:
            self._elector = self._elect(client, self._moves)
            self._main.call_soon_threadsafe(self._made.set)
            await self._elector.run()
        finally:
            await client.close()
