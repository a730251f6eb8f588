"""A real HTTP server that speaks, or fails to speak, OpenAI-compatible chat."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

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
