"""A proxy in front of a real S3 server that breaks the requests which a test chooses."""

import asyncio
import threading
from collections.abc import Callable
from enum import Enum
from typing import Self

import aiohttp
from aiohttp import web

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


class StoreProxy:
    """Runs in a thread; `choose` may be set at any time."""

    def __init__(self, endpoint: str) -> None:
        self.choose: Choice = lambda method, path: None
        self.requests: list[str] = []
        """`METHOD path` of all requests."""
        self.url = ""
        self._endpoint = endpoint

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(HANG_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(HANG_S)

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._open())
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._close())

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self.url = f"http://127.0.0.1:{port}"

    async def _close(self) -> None:
        await self._runner.cleanup()
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
