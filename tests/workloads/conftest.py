"""Fixtures of several parts: a real HTTP server that speaks, or fails to speak, chat; and none."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from sea_testing.loopback import silent_port

Answer = Callable[[], web.StreamResponse]


class ChatServer:
    """An OpenAI-compatible endpoint on a free port; answers what `answers` holds, then `default`.

    An answer of None hangs.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.answers: list[Answer | None] = []
        self.default: Answer | None = self.message("Ok.")

    @staticmethod
    def message(content: str | None) -> Answer:
        body = {"choices": [{"message": {"role": "assistant", "content": content}}]}
        return lambda: web.json_response(body)

    @staticmethod
    def status(code: int, text: str = "") -> Answer:
        return lambda: web.Response(status=code, text=text)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("Authorization", ""))
        answer = self.answers.pop(0) if self.answers else self.default
        if answer is None:
            await asyncio.Event().wait()
            raise AssertionError
        return answer()


@pytest.fixture
async def chat_server() -> AsyncIterator[ChatServer]:
    """A running `ChatServer`."""
    server = ChatServer()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield server
    await runner.cleanup()


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port of 127.0.0.1 on which nobody listens, and nobody will."""
    with silent_port() as port:
        yield port
