"""A real OpenAI-compatible HTTP server whose model is the shop's teacher, with faults on demand."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sea_cli import main
from sea_env.domains.shop import teacher
from sea_testing.waiting import HANG_S

Messages = list[dict[str, Any]]
Fault = Callable[[web.Request, Messages], Awaitable[web.StreamResponse | None]]


def flat(messages: Messages) -> Messages:
    """OpenAI's messages as the teacher reads them."""
    found = []
    for message in messages:
        calls = [
            {**call["function"], "arguments": json.loads(call["function"]["arguments"])}
            for call in message.get("tool_calls") or ()
        ]
        found.append({**message, "content": message["content"] or "", "tool_calls": calls})
    return found


def completion(message: dict[str, Any], finish: str = "stop") -> web.Response:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return web.json_response({"choices": [choice], "usage": {"completion_tokens": 7}})


def taught(messages: Messages) -> web.Response:
    """What the teacher says next, as a chat completion."""
    turn = teacher.turn([m for m in flat(messages) if m["role"] != "system"])
    calls = [
        {
            "id": f"x{number}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
        }
        for number, call in enumerate(turn.tool_calls)
    ]
    return completion({"content": turn.text or None, **({"tool_calls": calls} if calls else {})})


class Server:
    """Serves in a thread of its own, so that `main` may own the test's main thread."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.fault: Fault | None = None
        """May answer in the model's place, or return None to let it answer."""
        self.arrived = threading.Condition()
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._ready = threading.Event()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(HANG_S)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(HANG_S)

    def wait_for(self, count: int, timeout: float = HANG_S) -> bool:
        with self.arrived:
            return self.arrived.wait_for(lambda: len(self.requests) >= count, timeout)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        left = asyncio.all_tasks(self._loop)  # answers that never end; they complain at the exit
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        with self.arrived:
            self.requests.append(body)
            self.arrived.notify_all()
        if self.fault is not None:
            answer = await self.fault(request, body["messages"])
            if answer is not None:
                return answer
        return taught(body["messages"])


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def shop_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of the shop with six tasks."""
    out = tmp_path_factory.mktemp("evaluation") / "shop"
    sizes = ["--dialogues", "1", "--train-tasks", "1", "--test-tasks", "6"]
    assert main(["data", "shop", "--out", str(out), *sizes]) == 0
    return out


@pytest.fixture
def arguments(server: Any, shop_data: Path, tmp_path: Path) -> list[str]:
    """Six tasks, two trials, nothing patient."""
    return [
        "evaluate", "--endpoint", server.url, "--model", "teacher", "--domain", "shop",
        "--data", str(shop_data), "--out", str(tmp_path / "out"), "--trials", "2",
        "--timeout", str(HANG_S), "--retries", "2", "--attempts", "1",
    ]  # fmt: skip


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    from sea_env.chat import Address

    original = Address.__init__
    monkeypatch.setattr(
        Address,
        "__init__",
        lambda self, **given: original(self, **{"first_pause_s": 1e-3, **given}),
    )
