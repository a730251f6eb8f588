"""An aiohttp application in a thread of its own, for tests whose code blocks."""

import asyncio
import threading
from typing import Self

from aiohttp import web

from sea_testing.waiting import HANG_S


class ServerThread:
    """Serves on a free port of `address` while it is entered; `url` is set then."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address
        self.url = ""

    async def application(self) -> web.Application:
        """Called once, in the server's loop."""
        raise NotImplementedError

    async def close(self) -> None:
        """Called in the server's loop when it has stopped serving."""

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
        runner = self._loop.run_until_complete(self._open())
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.run_until_complete(self.close())

    async def _open(self) -> web.AppRunner:
        # A call that a test holds, or whose client was killed, is not waited for (default: 60 s).
        runner = web.AppRunner(await self.application(), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, self.address, 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self.url = f"http://{self.address}:{port}"
        return runner
