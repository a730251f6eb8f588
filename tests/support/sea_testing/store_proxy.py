"""A proxy in front of a real S3 server that breaks the requests which a test chooses."""

import asyncio
from collections.abc import Callable
from enum import Enum

import aiohttp
from aiohttp import web

from sea_testing.server_thread import ServerThread
from sea_testing.waiting import HANG_S


class Fault(Enum):
    BUSY = (503, "SlowDown")
    FULL = (507, "XMinioStorageFull")
    REFUSED = (400, "InvalidArgument")
    REVOKED = (403, "InvalidAccessKeyId")
    SKEWED = (403, "RequestTimeTooSkewed")
    LIE = (200, "")
    """Success, and nothing is stored."""
    DROP = (0, "")
    """The connection breaks off in the middle of the request."""
    SLOW = (-1, "")
    """The request waits a moment."""
    HANG = (-2, "")
    """No answer."""


Choice = Callable[[str, str], Fault | None]
"""(method, path with query) -> what happens to the request; None: it is passed on."""
_OWN_HEADERS = {"transfer-encoding", "connection", "content-encoding"}


class StoreProxy(ServerThread):
    """Runs in a thread; `choose` may be set at any time."""

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        self.choose: Choice = lambda method, path: None
        self.requests: list[str] = []
        """`METHOD path` of all requests."""
        self._endpoint = endpoint

    async def application(self) -> web.Application:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def close(self) -> None:
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.raw_path}")
        fault = self.choose(request.method, request.raw_path)
        if fault is Fault.DROP:
            await request.content.readany()
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        body = await request.read()
        if fault is Fault.HANG:
            await asyncio.sleep(HANG_S)
        elif fault is Fault.SLOW:
            await asyncio.sleep(0.1)
        elif fault is Fault.LIE:
            return web.Response(headers={"ETag": '"00000000000000000000000000000000"'})
        elif fault is not None:
            status, code = fault.value
            text = f"<Error><Code>{code}</Code><Message>as the test chose</Message></Error>"
            return web.Response(status=status, text=text, content_type="application/xml")
        return await self._pass_on(request, body)

    async def _pass_on(self, request: web.Request, body: bytes) -> web.Response:
        """With the client's own Host header, which its signature covers."""
        from yarl import URL

        async with self._session.request(
            request.method,
            URL(self._endpoint + request.raw_path, encoded=True),
            headers=request.headers,
            data=body,
            allow_redirects=False,
        ) as reply:
            found = {k: v for k, v in reply.headers.items() if k.lower() not in _OWN_HEADERS}
            content = await reply.read()
            if request.method != "HEAD":
                found.pop("Content-Length", None)
            return web.Response(status=reply.status, headers=found, body=content)
