"""Keeps the engine at the newest weight version: waits for one, has it adopted, reports it.

coordinator --newer_weights--> updater --prefetch, pause, load, resume--> engine
An engine that restarted serves the base model again; the watcher sees that, and the updater asks
anew for everything after version 0. Where the newest version can't be had (its trainer died), an
older one from the object store is still newer than what the engine serves: `choose`.
"""

import asyncio
import logging

from sea_runtime.client.aio import AsyncCoordinatorClient
from sea_runtime.client.errors import CoordinatorError
from sea_runtime.rollout import update
from sea_runtime.rollout.engine_client import EngineClient, EngineError
from sea_runtime.rollout.engine_state import EngineState
from sea_runtime.rollout.update import HalfLoadedError, PrefetchError, Timings
from sea_runtime.wire.weights import Adopted, WeightQueryReply, WeightVersion

_log = logging.getLogger(__name__)
LONG_POLL_S = 10.0
RETRY_S = 0.5


def choose(
    reply: WeightQueryReply, served: int, failed: WeightVersion | None
) -> WeightVersion | None:
    """The version to try next: the newest, or the anchor when the newest could not be had just now.

    `failed` is the last version whose bytes could not be had. The two take turns while neither
    can; a newest version that was published anew (by a new trainer, or with a copy in the object
    store) counts as another one.
    """
    offers = [one for one in (reply.newest, reply.anchor) if one and one.version > served]
    others = [one for one in offers if one != failed]
    return next(iter(others or offers), None)


class Updater:
    """One per worker; `run` never returns."""

    def __init__(
        self,
        client: AsyncCoordinatorClient,
        engine: EngineClient,
        state: EngineState,
        stream: str,
        pod: str,
    ) -> None:
        self._client, self._engine, self._state = client, engine, state
        self._stream, self._pod = stream, pod
        self._failed: WeightVersion | None = None
        self._reports: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        while True:
            served = await self._state.wait_up()
            reply = await self._newer(served)
            if reply is None:
                continue
            self._state.require(reply.required)
            version = choose(reply, served, self._failed)
            if version is not None:
                await self._adopt(version)

    async def _newer(self, served: int) -> WeightQueryReply | None:
        """Waits for something newer; None when the engine's state changed meanwhile."""
        ask = asyncio.ensure_future(self._ask(served))
        change = asyncio.ensure_future(self._state.change())
        try:
            await asyncio.wait({ask, change}, return_when=asyncio.FIRST_COMPLETED)
            return ask.result() if ask.done() else None
        finally:
            change.cancel()
            ask.cancel()

    async def _ask(self, served: int) -> WeightQueryReply | None:
        # The first answer is wanted at once: it says which version is required.
        wait = 0.0 if self._state.required is None else LONG_POLL_S
        try:
            return await self._client.newer_weights(self._stream, served, wait)
        except CoordinatorError as error:
            _log.warning("The coordinator says nothing about weights: %s", error)
            await asyncio.sleep(RETRY_S)
            return None

    async def _adopt(self, version: WeightVersion) -> None:
        self._state.updating = True
        try:
            timings = await update.adopt(self._engine, version)
        except PrefetchError as error:
            _log.warning("%s Version %s stays.", error, self._state.version)
            self._failed = version
            await asyncio.sleep(RETRY_S)
        except (HalfLoadedError, EngineError) as error:
            _log.warning("%s", error)
            self._state.lost()
            await asyncio.sleep(RETRY_S)
        else:
            self._failed = None
            self._state.serves(version.version)
            self._report(version.version, timings)
        finally:
            self._state.updating = False

    def _report(self, version: int, timings: Timings) -> None:
        _log.info("The engine serves version %d: %s", version, timings)
        message = Adopted(
            pod=self._pod,
            version=version,
            transport=timings.transport,
            transfer_s=timings.transfer_s,
            apply_s=timings.apply_s,
            pause_s=timings.pause_s,
        )
        task = asyncio.ensure_future(self._send(message))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _send(self, message: Adopted) -> None:
        try:
            await self._client.adopted(self._stream, message)
        except CoordinatorError as error:
            _log.warning("The update was not reported: %s", error)
