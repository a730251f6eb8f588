"""Both clients against a server that fails: what they send again, and for how long."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3
from aiohttp import web

from sea_runtime.client import calls
from sea_runtime.client.async_client import AsyncCoordinatorClient
from sea_runtime.client.calls import CoordinatorUnreachableError, StaleAttemptError
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply, PodState
from sea_testing.served import served
from sea_testing.waiting import HANG_S

BEAT = Heartbeat(
    pod="p", role="rollout", address="a", incarnation="i", state=PodState.READY, adopted=0
)
Ask = Callable[[str, float], Awaitable[HeartbeatReply]]
"""Sends BEAT to a URL, retried for so many seconds."""


class Coordinator:
    """Answers with each of `statuses` in turn, then with 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.asked = 0
        self.beats: list[Heartbeat] = []
        self.url = ""

    async def heartbeat(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.beats.append(Heartbeat.model_validate_json(await request.read()))
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, text=HeartbeatReply().model_dump_json())


@pytest.fixture
async def coordinator() -> AsyncIterator[Coordinator]:
    coordinator = Coordinator()
    app = web.Application()
    app.router.add_post("/v1/heartbeat", coordinator.heartbeat)
    async with served(app) as coordinator.url:
        yield coordinator


async def ask_async(url: str, seconds: float) -> HeartbeatReply:
    async with AsyncCoordinatorClient(url, "t", retry_timeout=seconds) as client:
        return await client.heartbeat(lambda: BEAT)


async def ask_sync(url: str, seconds: float) -> HeartbeatReply:
    client = CoordinatorClient(url, "t", retry_timeout=seconds)
    try:
        return await asyncio.to_thread(client.send, calls.heartbeat(BEAT))
    finally:
        client.close()


both = pytest.mark.parametrize("ask", [ask_async, ask_sync])


@both
async def test_a_busy_coordinator_is_asked_again(coordinator: Coordinator, ask: Ask) -> None:
    coordinator.statuses = [503, 500]
    assert await ask(coordinator.url, HANG_S) == HeartbeatReply()
    assert coordinator.asked == 3


async def test_a_heartbeat_that_is_sent_again_says_how_it_is_then(
    coordinator: Coordinator,
) -> None:
    """An engine that has adopted a version meanwhile, a trainer whose processes have failed."""
    coordinator.statuses = [503, 503]
    async with AsyncCoordinatorClient(coordinator.url, "t", retry_timeout=HANG_S) as client:
        await client.heartbeat(lambda: BEAT.model_copy(update={"adopted": coordinator.asked}))
    assert [beat.adopted for beat in coordinator.beats] == [0, 1, 2]


async def test_a_call_that_nobody_waits_for_any_more_is_not_sent_again(
    coordinator: Coordinator,
) -> None:
    coordinator.statuses = [503] * 1000
    asked = iter([False, True])
    client = CoordinatorClient(coordinator.url, "t", retry_timeout=HANG_S)
    watched = client.watched(lambda: next(asked))
    with pytest.raises(CoordinatorUnreachableError):
        await asyncio.to_thread(watched.send, calls.heartbeat(BEAT))
    client.close()
    assert coordinator.asked == 2


@both
async def test_a_refusal_is_not_sent_again(coordinator: Coordinator, ask: Ask) -> None:
    coordinator.statuses = [409]
    with pytest.raises(StaleAttemptError, match="POST /v1/heartbeat"):
        await ask(coordinator.url, HANG_S)
    assert coordinator.asked == 1


@both
async def test_after_the_deadline_the_sentence_names_call_and_time(
    coordinator: Coordinator, ask: Ask
) -> None:
    coordinator.statuses = [503] * 1000
    with pytest.raises(
        CoordinatorUnreachableError,
        match=r"did not answer 'POST /v1/heartbeat' for 0 s: status 503 .* logs of its pod",
    ):
        await ask(coordinator.url, 0.0)
    assert coordinator.asked == 1


@both
async def test_a_coordinator_that_is_not_there_is_an_outage(nobody: int, ask: Ask) -> None:
    with pytest.raises(CoordinatorUnreachableError, match="Connect"):
        await ask(f"http://127.0.0.1:{nobody}", 0.0)


@pytest.mark.parametrize(("megabytes", "seconds"), [(0, 5), (60, 35)])
def test_a_large_body_has_the_time_that_a_slow_network_takes(
    megabytes: int, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """urllib3 sends it within the time-out of the connection, as a whole."""
    client = CoordinatorClient("http://coordinator.invalid", "t", retry_timeout=0.0)
    given: list[urllib3.Timeout] = []

    def request(*_: Any, timeout: urllib3.Timeout, **__: Any) -> Any:
        given.append(timeout)
        return SimpleNamespace(status=200, data=b"")

    monkeypatch.setattr(client._pool, "request", request)
    body = bytes(megabytes * 1_000_000)
    client.send(calls.Call("PUT", "/v1/layouts/a", lambda _: None, body=body))
    assert given[0].connect_timeout == seconds
    assert given[0].read_timeout == 15 + seconds - 5
