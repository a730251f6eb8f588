"""A model backend whose model is played, from the server to the written data set."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from sea_data.synthesis import dataset
from sea_data.synthesis.agents.backend import ModelBackend
from sea_data.synthesis.engine import Engine
from sea_data.synthesis.journal import Journal
from sea_data.synthesis.run_state import RunSettings, RunState
from sea_data.synthesis.source_database import SourceDatabase
from sea_env.chat import Address, ChatEndpoint
from sea_env.verify.sandbox.pool import FunctionSandbox
from sea_testing.played import PlayedModel
from sea_testing.waiting import HANG_S

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    """A chat endpoint on a free port; its base URL."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    async with TestServer(app) as server:
        yield str(server.make_url("/v1"))


class Team:
    """A backend of the played model, and what its run leaves behind."""

    def __init__(
        self, model: PlayedModel, url: str, source: SourceDatabase, sandbox: FunctionSandbox
    ) -> None:
        self.model, self.url, self.source, self._sandbox = model, url, source, sandbox

    async def make(self, folder: Path, **given: Any) -> RunState:
        """A run of three rounds; its data set is written."""
        settings = RunSettings(
            self.source.domain.name,
            given.pop("count", 12),
            rounds=given.pop("rounds", 3),
            plans=given.pop("plans", 6),
            model="played",
            concurrency=given.pop("concurrency", 4),
            max_failures=given.pop("max_failures", RunSettings.max_failures),
        )
        address = {"timeout_s": HANG_S, "first_pause_s": 0.001, "attempts": 6, **given}
        async with aiohttp.ClientSession() as session:
            chat = ChatEndpoint(session, Address(self.url, "played", **address))
            backend = ModelBackend(chat, "played", [self.source], 0, self._sandbox)
            with closing(Journal(folder)) as journal:
                state = await Engine(settings, backend, journal, clock=time.monotonic).run()
                dataset.write(folder, journal, [self.source], state)
        return state


@contextmanager
def served_aside(handler: Handler) -> Iterator[str]:
    """The same for callers without an event loop: in a thread that ends with the context."""
    loop, address = asyncio.new_event_loop(), Queue[str]()

    async def serve() -> None:
        async with served(handler) as url:
            address.put(url)
            await over.wait()

    over = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    try:
        yield address.get(timeout=HANG_S)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(HANG_S)
        loop.close()
