"""Keeps the engine at the newest weight version: waits for one, has it adopted, reports it.

coordinator --newer_weights--> updater --prefetch, pause, load, resume (`weight_swap`)--> engine
An engine that restarted serves the base model again; the watcher notices, and the updater asks for
everything after version 0 again. If the newest version can't be fetched (its trainer died), an
older one from the object store is still newer than what the engine serves: `choose`.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from sea_runtime.client.async_client import AsyncCoordinatorClient
from sea_runtime.client.calls import CoordinatorError
from sea_runtime.rollout import weight_swap
from sea_runtime.rollout.engine_client import EngineClient, EngineError, EngineTimeoutError
from sea_runtime.rollout.engine_state import EMPTY, EngineState
from sea_runtime.rollout.weight_swap import (
    HalfLoadedError,
    PrefetchError,
    Timings,
    WrongWeightsError,
)
from sea_runtime.wire.weights import (
    Adopted,
    EngineCopy,
    FailedSource,
    NotFetched,
    ShardLayout,
    WeightQueryReply,
    WeightVersion,
    WrongWeights,
)

_log = logging.getLogger(__name__)
# The client adds it to its own time-out; a newer version is answered at once.
LONG_POLL_SECONDS = 10.0
RETRY_SECONDS = 0.5
REPORTED_TENSORS = 8
"""Names in a report of wrong weights; usually all or one are wrong."""


def choose(
    reply: WeightQueryReply, served: int, failed: WeightVersion | None
) -> WeightVersion | None:
    """The version to try next: the newest, or the anchor if the newest could not be fetched.

    `failed` is the last version that could not be fetched. Alternates between newest and anchor
    until one can be; a newest version that was published again (by a new trainer, or with a copy
    in the object store) counts as another one.
    """
    offers = [one for one in (reply.newest, reply.anchor) if one and one.version > served]
    others = [one for one in offers if one != failed]
    return next(iter(others or offers), None)


@dataclass(frozen=True)
class _Question:
    """A pending request for a version after `after`; `time` is the event loop's."""

    after: int
    time: float
    answer: "asyncio.Task[WeightQueryReply | None]"


class WeightUpdater:
    """One per worker; `run` ends only when cancelled."""

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
        self._asked: _Question | None = None
        self._reports: set[asyncio.Task[None]] = set()
        self._unfetched: asyncio.Task[None] | None = None
        """The newest report of a version that was not fetched."""
        self._dequantized: int | None = None
        """`EngineState.downs` when the engine was found to have no FP8 weights."""

    async def run(self) -> None:
        try:
            await self._run()
        finally:
            self._forget_question()

    async def _run(self) -> None:
        downs = self._state.downs
        while True:
            served = await self._state.wait_up()
            if self._state.downs != downs and served > 0:
                # To the coordinator an engine that does not answer holds nothing: this one was only
                # slow for a moment.
                self._background(self._announce())
            downs = self._state.downs
            reply = await self._newer(served)
            if reply is None:
                continue
            # Required before adopting: until it is known, the engine isn't ready and no episode
            # begins.
            self._state.require(reply.required)
            # Also before the first version: until then the trainer computes with other numbers.
            if reply.trained and await self._replace_fp8():
                continue
            if reply.announce:
                self._background(self._announce())
            version = choose(reply, served, self._failed)
            if version is not None:
                await self._adopt(version)
            elif served == EMPTY:
                await self._load_base(reply)

    async def _load_base(self, reply: WeightQueryReply) -> None:
        """Ends an empty engine if the base model is what it should serve after all.

        The version that was there when it started has gone, as with a trainer that died before its
        first anchor; the container starts again, and downloads the weights.
        """
        if not reply.busy and reply.required == 0:
            _log.warning("No weight version can be fetched any longer: loading the base model.")
            await self._engine.terminate()
            self._state.lost()
            await asyncio.sleep(RETRY_SECONDS)

    async def _replace_fp8(self) -> bool:
        """Ends an engine that serves FP8 weights although its model is trained; True if it has to
        be asked again.

        It started before any stage trained the model, as with a stage that an edit adds. Its
        container starts again, and dequantizes the folder (`base_model.fetch`).
        """
        downs = self._state.downs
        # Asked once per start of the engine: every answer of the coordinator comes here.
        if self._dequantized == downs:
            return False
        try:
            if not await self._engine.has_fp8_weights():
                self._dequantized = downs
                return False
            _log.warning("The model is trained from now on: the engine restarts without FP8.")
            await self._engine.terminate()
            self._state.lost()
        except EngineError as error:
            _log.warning("%s", error)
        await asyncio.sleep(RETRY_SECONDS)
        return True

    async def _newer(self, served: int) -> WeightQueryReply | None:
        """Waits for a newer version; None if the engine's state changed first."""
        question = self._question(max(served, 0))
        change = asyncio.ensure_future(self._state.change())
        try:
            await asyncio.wait({question.answer, change}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()
        if not question.answer.done():
            return None
        # Also if both are done: an answer must not be lost.
        self._asked = None
        return question.answer.result()

    def _question(self, after: int) -> "_Question":
        """The question that was asked before the engine's state changed, if it is the same.

        Its answer may name an engine to read from. Asking again says that the read failed: an
        engine that was only slow for a moment would be sent away from the one with the version.
        """
        now, asked = asyncio.get_running_loop().time(), self._asked
        if asked is None or asked.after != after or now - asked.time > LONG_POLL_SECONDS:
            self._forget_question()
            asked = _Question(after, now, asyncio.ensure_future(self._ask(after)))
            self._asked = asked
        return asked

    def _forget_question(self) -> None:
        if self._asked is not None:
            self._asked.answer.cancel()
            self._asked = None

    async def _ask(self, after: int) -> WeightQueryReply | None:
        # No long poll at first: the engine is not ready before it is known which version it needs.
        wait = 0.0 if self._state.required is None else LONG_POLL_SECONDS
        # First how the last read ended: a question without it says that the source failed.
        if self._unfetched is not None:
            await asyncio.wait({self._unfetched})
        try:
            return await self._client.newer_weights(self._stream, after, wait, self._pod)
        except CoordinatorError as error:
            _log.warning("The coordinator did not answer about weights: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
            return None

    async def _adopt(self, version: WeightVersion) -> None:
        # Keeps the watcher away, which would resume the paused engine.
        self._state.updating = True
        try:
            timings = await weight_swap.adopt(
                self._engine,
                version,
                # Called before the pause: other engines wait for someone to read from.
                fetched=lambda: self._background(self._announce()) if version.relay else None,
                layout=self._layout,
            )
        except PrefetchError as error:
            _log.warning("%s The engine keeps version %s.", error, self._state.version)
            self._failed = version
            if error.failed:
                # With a reason the trainer stores its versions, so only where other processes are
                # out of reach: an error of another kind would come back.
                self._state.unreachable = error.unreachable
            if not error.hung:
                self._report_unfetched(version, error.failed)
            await asyncio.sleep(RETRY_SECONDS)
        except (HalfLoadedError, WrongWeightsError, EngineError) as error:
            _log.warning("%s", error)
            # Unknown from here on: the watcher finds out and recovers it.
            self._state.lost()
            if isinstance(error, WrongWeightsError):
                self._report_wrong(error)
            # A busy engine says nothing about the source; one that has gone may have died of it.
            elif isinstance(error, EngineTimeoutError):
                self._report_unfetched(version, ())
            await asyncio.sleep(RETRY_SECONDS)
        else:
            self._failed = None
            self._state.transport = timings.transport
            self._state.unreachable = timings.unreachable
            self._state.serves(version.version, version.attempt)
            self._report(version, timings)
        finally:
            # Last, also on cancellation: the watcher looks after the engine again.
            self._state.updating = False

    async def _layout(self, digest: str) -> ShardLayout:
        try:
            return await self._client.layout(digest)
        except CoordinatorError as error:
            raise PrefetchError(str(error)) from error

    def _report(self, version: WeightVersion, timings: Timings) -> None:
        _log.info("The engine serves version %d: %s", version.version, timings)
        message = Adopted(
            pod=self._pod,
            version=version.version,
            attempt=version.attempt,
            transport=timings.transport,
            transfer_s=timings.transfer_s,
            apply_s=timings.apply_s,
            pause_s=timings.pause_s,
            failed_sources=list(timings.failed),
        )
        # Not awaited: a slow coordinator must not delay the next version.
        self._background(_sent(self._client.adopted(self._stream, message)))

    def _report_unfetched(self, version: WeightVersion, failed: Sequence[FailedSource]) -> None:
        found = {"version": version.version, "attempt": version.attempt}
        message = NotFetched(pod=self._pod, **found, failed_sources=list(failed))
        self._unfetched = self._background(_sent(self._client.unfetched(self._stream, message)))

    def _report_wrong(self, error: WrongWeightsError) -> None:
        tensors = error.tensors[:REPORTED_TENSORS]
        message = WrongWeights(pod=self._pod, version=error.version, tensors=tensors)
        self._background(_sent(self._client.wrong_weights(self._stream, message)))

    def _background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        # The set keeps the task alive, since asyncio holds only weak references to tasks.
        task = asyncio.ensure_future(work)
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)
        return task

    async def _announce(self) -> None:
        """Reports what other engines can read here: the newest version that was fetched."""
        try:
            workers = await self._engine.served_copy()
            # Workers differ while the next version is fetched, which is announced by itself.
            if len(versions := {(one.version, one.attempt) for one in workers}) == 1:
                version, attempt = versions.pop()
                copy = EngineCopy(pod=self._pod, version=version, attempt=attempt, workers=workers)
                await self._client.announce(self._stream, copy)
        except (EngineError, CoordinatorError) as error:
            _log.warning("Other engines can't read from this one: %s", error)


async def _sent(report: Coroutine[Any, Any, None]) -> None:
    try:
        await report
    except CoordinatorError as error:
        _log.warning("The update was not reported: %s", error)
