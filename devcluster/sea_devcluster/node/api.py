"""An asynchronous client of the API server: JSON in, JSON out, time-outs on everything, watches."""

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from sea_devcluster.errors import ApiError, ApiUnreachableError, DevclusterError

from .config import ConfigError
from .kube_json import Json, uid

log = logging.getLogger(__name__)

REQUEST_SECONDS = 20.0
# The server ends a watch by then, and `_follow` continues from the last version.
WATCH_SECONDS = 240
_CONTENT = {
    "strategic": "application/strategic-merge-patch+json",
    "merge": "application/merge-patch+json",
}
RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Connection:
    """Address of the API server, and the certificates for both sides."""

    server: str
    tls: ssl.SSLContext


def load_connection(kubeconfig: Path) -> Connection:
    """Reads a kubeconfig as `credentials` writes it: one cluster, one client certificate.

    Raises:
        ConfigError: It is broken, or names files that can't be read.
    """
    try:
        document = json.loads(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        tls.load_cert_chain(user["client-certificate"], user["client-key"])
        return Connection(cluster["server"], tls)
    except (OSError, LookupError, TypeError, ValueError) as error:
        message = f"The kubeconfig {kubeconfig} can't be used: {type(error).__name__} {error}"
        raise ConfigError(message) from error


class ApiClient:
    """One connection pool to one API server; use it as an async context manager."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # trust_env stays off: a proxy in the environment must not see loopback traffic.
            connector=aiohttp.TCPConnector(ssl=self._connection.tls, limit=0),
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **query: str) -> Json:
        """GET an object or a list."""
        return await self._request("GET", path, query)

    async def create(self, path: str, body: Json, **query: str) -> Json:
        """POST a new object, or to a subresource such as `token`."""
        return await self._request("POST", path, query, body)

    async def update(self, path: str, body: Json) -> Json:
        """PUT a whole object."""
        return await self._request("PUT", path, {}, body)

    async def patch(self, path: str, body: Json, kind: str = "strategic") -> Json:
        """PATCH with a strategic merge (default) or a merge patch."""
        return await self._request("PATCH", path, {}, body, _CONTENT[kind])

    async def delete(self, path: str, body: Json | None = None) -> Json:
        """DELETE with options (grace period, preconditions) as body."""
        return await self._request("DELETE", path, {}, body)

    async def watch(self, path: str, query: dict[str, str]) -> AsyncIterator[Json]:
        """Yields watch events until the server ends the watch or the connection breaks."""
        # No total, which would cut the watch off; sock_read finds a server that is gone, 30 s after
        # it should have ended the watch.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=WATCH_SECONDS + 30)
        query = {**query, "watch": "1", "timeoutSeconds": str(WATCH_SECONDS)}
        try:
            async with self._open().get(
                self._connection.server + path, params=query, timeout=timeout
            ) as response:
                await _raise_for(response)
                async for line in _lines(response):
                    yield json.loads(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable("WATCH", path, error) from error

    def _open(self) -> aiohttp.ClientSession:
        assert self._session is not None, "the client is used outside of its context"
        return self._session

    async def _request(
        self,
        verb: str,
        path: str,
        query: dict[str, str],
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json:
        try:
            async with self._open().request(
                verb,
                self._connection.server + path,
                params=query,
                data=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": content_type},
            ) as response:
                await _raise_for(response)
                answer: Json = await response.json(content_type=None)
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(verb, path, error) from error


async def _raise_for(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    text = await response.text()
    try:
        status: dict[str, Any] = json.loads(text)
        reason, message = str(status.get("reason", "")), str(status.get("message", text))
    except ValueError:
        reason, message = response.reason or "", text[:500]
    raise _refused(response.status, reason, message)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of any length: aiohttp's own line reader refuses lines over 64 KiB."""
    rest = b""
    async for chunk in response.content.iter_any():
        # A chunk may end in the middle of a line.
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _refused(status: int, reason: str, message: str) -> ApiError:
    return ApiError(status, reason, f"The API server answered {status} {reason}: {message}")


def _unreachable(verb: str, path: str, error: Exception) -> ApiUnreachableError:
    return ApiUnreachableError(
        f"{verb} {path} didn't reach the API server: {type(error).__name__} {error}"
    )


class Reflector:
    """The objects of one collection by UID; calls back after every change.

    `on_change(old, new)`: `(None, x)` added, `(x, y)` changed, `(x, None)` gone. Called from the
    event loop; must not block. `synced` is set after the first complete list.
    """

    def __init__(
        self,
        api: ApiClient,
        path: str,
        on_change: Callable[[Json | None, Json | None], None],
        **query: str,
    ) -> None:
        self.objects: dict[str, Json] = {}
        self.synced = asyncio.Event()
        self._api = api
        self._path = path
        self._query = query
        self._on_change = on_change

    async def run(self) -> None:
        """Lists and watches until cancelled; waits for an API server that is down."""
        while True:
            try:
                await self._follow(await self._list())
            except DevclusterError as error:
                log.warning("Watching %s failed: %s; retrying", self._path, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _list(self) -> str:
        answer = await self._api.get(self._path, **self._query)
        found = {uid(item): item for item in answer["items"]}
        # Deletions that happened while no watch ran: the list doesn't mention them.
        for gone in self.objects.keys() - found.keys():
            self._remove(gone)
        for item in found.values():
            self._store(item)
        # After the callbacks: who waits for it sees workers of all pods.
        self.synced.set()
        return str(answer["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> None:
        """Watches from `version`, across connections, until that version is too old."""
        while True:
            # Bookmarks carry newer versions of a quiet collection, so that the version doesn't
            # expire (410).
            query = {**self._query, "resourceVersion": version, "allowWatchBookmarks": "true"}
            async for event in self._api.watch(self._path, query):
                item = event["object"]
                if event["type"] == "ERROR":
                    # Usually 410 Gone, after etcd's compaction: `run` lists again.
                    raise _refused(item.get("code", 0), item.get("reason", ""), item["message"])
                version = item["metadata"]["resourceVersion"]
                if event["type"] == "DELETED":
                    self._remove(uid(item))
                elif event["type"] != "BOOKMARK":
                    self._store(item)

    def _store(self, item: Json) -> None:
        old = self.objects.get(uid(item))
        # Stored before the callback, which may read `objects`.
        self.objects[uid(item)] = item
        if old is None or (
            old["metadata"].get("resourceVersion") != item["metadata"].get("resourceVersion")
        ):
            self._on_change(old, item)

    def _remove(self, key: str) -> None:
        old = self.objects.pop(key, None)
        if old is not None:
            self._on_change(old, None)
