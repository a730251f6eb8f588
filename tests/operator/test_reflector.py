"""A reflector on an API server of a few lines: pages, watches, interruptions, a forgotten past."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from kubernetes.client import Configuration

from sea_operator.errors import RejectedError
from sea_operator.kube.client import POD, Kind, KubeClient
from sea_operator.kube.connection import PROBES, Connection
from sea_operator.kube.reflector import Reflector
from sea_testing.served import served

HANG = 120


def pod(name: str, version: int, text: str = "") -> dict[str, Any]:
    meta = {"name": name, "namespace": "n", "resourceVersion": str(version)}
    return {"metadata": meta, "text": text}


def event(type_: str, live: dict[str, Any]) -> bytes:
    return json.dumps({"type": type_, "object": live}).encode() + b"\n"


EXPIRED = event("ERROR", {"kind": "Status", "code": 410, "message": "too old"})


class Server:
    """Answers lists with `pages`, and each watch with the next of `streams`; then it is silent."""

    def __init__(self) -> None:
        self.pages: list[list[dict[str, Any]]] = [[]]
        self.version = "10"
        self.streams: list[list[bytes]] = []
        self.lists = 0
        self.refuses = False
        self.refuses_watches = False
        self.watched_from: list[str] = []
        self.silent = asyncio.Event()
        self.crowded = asyncio.Event()
        self.listed_often = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.refuses:
            return web.json_response({"message": "forbidden"}, status=403)
        if "watch" not in request.query:
            return self._page(int(request.query.get("continue", "0")))
        if self.refuses_watches:
            return web.json_response({"message": "forbidden"}, status=403)
        self.watched_from.append(request.query["resourceVersion"])
        if len(self.watched_from) == 100:
            self.crowded.set()
        answer = web.StreamResponse()
        await answer.prepare(request)
        if not self.streams:
            self.silent.set()
            await asyncio.Event().wait()
        for chunk in self.streams.pop(0):
            await answer.write(chunk)
        return answer

    def _page(self, number: int) -> web.Response:
        self.lists += number == 0
        if self.lists == 3:
            self.listed_often.set()
        more = {"continue": str(number + 1)} if number + 1 < len(self.pages) else {}
        meta = {"resourceVersion": self.version, **more}
        return web.json_response({"metadata": meta, "items": self.pages[number]})


class Store:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def put(self, kind: Kind, live: dict[str, Any]) -> None:
        self.told.append(("put", live["metadata"]["name"], live["metadata"]["resourceVersion"]))

    def remove(self, kind: Kind, live: dict[str, Any]) -> None:
        self.told.append(("remove", live["metadata"]["name"]))

    def prune(
        self, kind: Kind, namespace: str | None, seen: set[tuple[str, str]], version: str
    ) -> None:
        self.told.append(("prune", sorted(seen), version))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[KubeClient]:
    app = web.Application()
    app.router.add_get("/api/v1/pods", server.handle)
    async with served(app) as url:
        config = Configuration()
        config.host = url
        client = KubeClient(Connection(config))
        yield client
        await client.close()


@contextlib.asynccontextmanager
async def running(client: KubeClient, store: Store) -> AsyncIterator[Reflector]:
    # Half a second before each new try, as short as it gets.
    reflector = Reflector(client, POD, None, "l", store, random=lambda: -0.5)
    task = asyncio.create_task(reflector.run())
    yield reflector
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def followed(client: KubeClient, server: Server, store: Store) -> list[tuple[Any, ...]]:
    """What the store was told until the server has nothing more to say."""
    async with running(client, store):
        await asyncio.wait_for(server.silent.wait(), HANG)
    return store.told


async def test_it_is_synced_only_after_the_last_page(
    client: KubeClient, server: Server, store: Store
) -> None:
    server.pages = [[pod("a", 1)], [pod("b", 2)]]
    async with running(client, store) as reflector:
        assert not reflector.synced.is_set()
        await asyncio.wait_for(reflector.synced.wait(), HANG)
        assert store.told == [
            ("put", "a", "1"),
            ("put", "b", "2"),
            ("prune", [("n", "a"), ("n", "b")], "10"),
        ]


async def test_a_watch_goes_on_from_the_list_and_from_the_last_watch(
    client: KubeClient, server: Server, store: Store
) -> None:
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "15"}})
    server.streams = [[event("ADDED", pod("a", 11)), bookmark], [event("DELETED", pod("a", 16))]]
    told = await followed(client, server, store)
    assert told[1:] == [("put", "a", "11"), ("remove", "a")]
    assert server.watched_from == ["10", "15", "16"]
    assert server.lists == 1


async def test_a_line_may_be_long_and_come_in_pieces(
    client: KubeClient, server: Server, store: Store
) -> None:
    lines = event("ADDED", pod("a", 11, "x" * 400_000)) + event("MODIFIED", pod("a", 12))
    server.streams = [[lines[i : i + 70_001] for i in range(0, len(lines), 70_001)]]
    told = await followed(client, server, store)
    assert told[1:] == [("put", "a", "11"), ("put", "a", "12")]


async def test_a_forgotten_past_is_listed_again(
    client: KubeClient, server: Server, store: Store
) -> None:
    server.pages = [[pod("a", 1)]]
    server.streams = [[event("MODIFIED", pod("a", 11)), EXPIRED]]
    told = await followed(client, server, store)
    assert server.lists == 2
    assert told[-1] == ("prune", [("n", "a")], "10")


async def test_a_watch_that_breaks_off_goes_on_where_it_was(
    client: KubeClient, server: Server, store: Store
) -> None:
    server.streams = [[event("ADDED", pod("a", 11)), b'{"type": "MODI']]
    told = await followed(client, server, store)
    assert told[1:] == [("put", "a", "11")]
    assert server.watched_from == ["10", "11"]
    assert server.lists == 1


async def test_an_error_in_a_stream_has_its_class(client: KubeClient, server: Server) -> None:
    server.streams = [[event("ERROR", {"code": 403, "message": "no"})]]
    with pytest.raises(RejectedError, match="no"):
        async for _ in client.watch(POD, None, "l", "1"):
            pass


async def test_a_refused_list_is_an_answer_and_is_tried_again(
    client: KubeClient, server: Server, store: Store
) -> None:
    server.refuses = True
    async with running(client, store) as reflector:
        await asyncio.wait_for(reflector.answered.wait(), HANG)
        assert not reflector.synced.is_set()
        server.refuses = False
        await asyncio.wait_for(reflector.synced.wait(), HANG)


async def test_watches_of_many_namespaces_leave_connections_for_other_requests(
    client: KubeClient, server: Server, store: Store
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(100):
            await stack.enter_async_context(running(client, store))
        await asyncio.wait_for(server.crowded.wait(), HANG)
        assert await client.list(POD, None, "l") == []


async def test_a_watch_that_is_refused_is_replaced_by_lists(
    client: KubeClient, server: Server, store: Store
) -> None:
    """Otherwise passes would go on for ever on what the first list said."""
    server.refuses_watches = True
    async with running(client, store):
        await asyncio.wait_for(server.listed_often.wait(), HANG)
    assert server.lists >= 3
    assert server.watched_from == [], "no watch was ever granted"


async def test_a_store_is_not_trusted_once_its_lists_are_refused(
    client: KubeClient, server: Server, store: Store
) -> None:
    reflector = Reflector(client, POD, None, "l", store, random=lambda: -0.5)
    await reflector.fill()
    assert reflector.synced.is_set()
    server.refuses = True
    with pytest.raises(RejectedError):
        await reflector.fill()
    assert not reflector.synced.is_set()


async def test_a_watch_notices_a_server_that_vanished_without_a_word(
    client: KubeClient, server: Server, store: Store
) -> None:
    async with running(client, store):
        await asyncio.wait_for(server.silent.wait(), HANG)
        connector: Any = client._connection._session.connector
        (protocol,) = connector._acquired
        watch = protocol.transport.get_extra_info("socket")
        assert watch.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        times = {one: watch.getsockopt(socket.IPPROTO_TCP, one) for one in PROBES}
        assert times == PROBES
