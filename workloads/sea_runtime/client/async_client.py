"""The coordinator for asyncio callers: rollout worker and weight puller."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from tenacity import AsyncRetrying

from sea_runtime.client import calls
from sea_runtime.client.calls import (
    Call,
    CoordinatorUnreachableError,
    read_timeout,
    until,
)
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply
from sea_runtime.wire.rollouts import EpisodeResult, LeaseRequest, Leases
from sea_runtime.wire.weights import (
    Adopted,
    EngineCopy,
    ModelReply,
    NotFetched,
    ShardLayout,
    WeightQueryReply,
    WrongWeights,
)

Result = TypeVar("Result")


class HeldLeases:
    """Which leases this process holds, so that a lost answer costs no episode.

    If the coordinator handed out leases and the answer never arrived, it believes that the worker
    runs them. So each request says what the worker really holds; the coordinator sends the rest
    again.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def declare(self, request: LeaseRequest) -> LeaseRequest:
        """The request with `holding` filled in, unless the caller did."""
        if request.holding is not None:
            return request
        return request.model_copy(update={"holding": sorted(self._ids)})

    def took(self, leases: Leases) -> Leases:
        self._ids.update(lease.lease_id for lease in leases.leases)
        return leases

    def gave_up(self, lease_id: str) -> None:
        self._ids.discard(lease_id)


class AsyncCoordinatorClient:
    """Calls of the rollout pods and of all heartbeats, as coroutines; close it when done.

    Raises (all methods): `CoordinatorError` and its subclasses.
    """

    def __init__(
        self, url: str, token: str, timeout: float = 15.0, retry_timeout: float = 120.0
    ) -> None:
        self._url, self._timeout, self._retry_timeout = url.rstrip("/"), timeout, retry_timeout
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None
        self._held, self._leasing = HeldLeases(), asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def heartbeat(self, beat: Callable[[], Heartbeat]) -> HeartbeatReply:
        """Sends how it is now: a repetition after an outage says what has changed meanwhile."""

        async def once() -> HeartbeatReply:
            return await self._once(calls.heartbeat(beat()))

        retrying = AsyncRetrying(**until(self._retry_timeout, calls.heartbeat(beat()), self._url))
        reply: HeartbeatReply = await retrying(once)
        return reply

    async def keep_log(self, pod: str, name: str, attempt: int, text: bytes) -> None:
        await self._send(calls.keep_log(pod, name, attempt, text))

    async def model(self, stream: str) -> ModelReply | None:
        """None until the base model is prepared."""
        return await self._send(calls.model(stream))

    async def newer_weights(
        self, stream: str, after: int, wait: float, pod: str = ""
    ) -> WeightQueryReply:
        return await self._send(calls.newer_weights(stream, after, wait, pod))

    async def adopted(self, stream: str, message: Adopted) -> None:
        await self._send(calls.adopted(stream, message))

    async def unfetched(self, stream: str, message: NotFetched) -> None:
        await self._send(calls.unfetched(stream, message))

    async def wrong_weights(self, stream: str, message: WrongWeights) -> None:
        await self._send(calls.wrong_weights(stream, message))

    async def layout(self, digest: str) -> ShardLayout:
        return await self._send(calls.layout(digest))

    async def announce(self, stream: str, copy: EngineCopy) -> None:
        await self._send(calls.announce(stream, copy))

    async def lease(self, request: LeaseRequest) -> Leases:
        """One at a time: two open requests would each get what the other already holds."""
        async with self._leasing:
            return self._held.took(await self._send(calls.lease(self._held.declare(request))))

    async def result(self, episode: EpisodeResult) -> bool:
        """False: the lease is not this worker's any longer, forget the episode."""
        # Held until the coordinator has answered: given up earlier, the lease would be sent to us
        # again as one that was lost, and the episode would run twice.
        accepted = await self._send(calls.result(episode))
        self._held.gave_up(episode.lease_id)
        return accepted

    async def release(self, lease_id: str, pod: str, incarnation: str) -> None:
        await self._send(calls.release(lease_id, pod, incarnation))
        self._held.gave_up(lease_id)

    async def _send(self, call: Call[Result]) -> Result:
        retrying = AsyncRetrying(**until(self._retry_timeout, call, self._url))
        result: Result = await retrying(self._once, call)
        return result

    async def _once(self, call: Call[Result]) -> Result:
        # The session is created on first use: aiohttp needs a running loop for it.
        # No limit: with aiohttp's 100 connections, waiting long polls and
        # results would delay heartbeats.
        self._session = self._session or aiohttp.ClientSession(
            headers=self._headers, connector=aiohttp.TCPConnector(limit=0)
        )
        seconds = read_timeout(self._timeout, call.wait, len(call.body))
        try:
            async with self._session.request(
                call.method,
                self._url + call.target,
                data=call.body or None,
                headers={"Content-Type": call.content_type},
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=5.0),
            ) as reply:
                status, body = reply.status, await reply.read()
        # aiohttp raises the built-in TimeoutError when `total` has passed.
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CoordinatorUnreachableError(repr(error)) from error
        return call.read(status, body)
