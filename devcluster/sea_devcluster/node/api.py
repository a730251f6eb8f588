"""A thin asynchronous client of the API server: JSON in, JSON out, time-outs on everything."""

import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import aiohttp

from .errors import ApiError, ApiUnreachableError
from .kubeconfig import Connection
from .wire import Json

REQUEST_SECONDS = 20.0
WATCH_SECONDS = 240
_CONTENT = {
    "strategic": "application/strategic-merge-patch+json",
    "merge": "application/merge-patch+json",
}


class ApiClient:
    """One connection pool to one API server; use it as an async context manager."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=self._connection.headers,
            # trust_env stays off: a proxy in the environment must not see loopback traffic.
            connector=aiohttp.TCPConnector(ssl=self._connection.tls or True, limit=0),
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
        """Watch events until the server ends the watch or the connection breaks."""
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
    raise ApiError(response.status, reason, message)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Whole lines of any length: aiohttp's own line reader refuses lines over 64 KiB."""
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _unreachable(verb: str, path: str, error: Exception) -> ApiUnreachableError:
    return ApiUnreachableError(
        f"{verb} {path} didn't reach the API server: {type(error).__name__} {error}"
    )
