"""A chat endpoint and its faults: real HTTP, no waiting."""

from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sea_env.chat import (
    Address,
    ChatEndpoint,
    EndpointError,
    RefusedError,
    text_of,
)
from sea_testing.chat_server import ChatServer
from sea_testing.waiting import HANG_S

HELLO = [{"role": "user", "content": "Hello"}]


async def ask(server: ChatServer, **address: Any) -> str:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with aiohttp.ClientSession() as session:
        given = Address(url=server.url, model="m", **address)
        return await ChatEndpoint(session, given, sleep).ask(HELLO, text_of)


async def test_what_is_sent(chat_server: ChatServer) -> None:
    assert await ask(chat_server, api_key="k", temperature=None) == "Ok."
    assert chat_server.asked == [{"model": "m", "max_tokens": 2048, "messages": HELLO}]
    assert chat_server.keys == ["Bearer k"]
    assert "'k'" not in repr(Address(url="u", model="m", api_key="k")), "keys don't get into logs"


@pytest.mark.parametrize("code", [408, 429, 500, 503])
async def test_a_busy_endpoint_is_asked_again(chat_server: ChatServer, code: int) -> None:
    chat_server.answers += [chat_server.status(code), chat_server.status(code)]
    assert await ask(chat_server) == "Ok."
    assert len(chat_server.asked) == 3


async def test_an_endpoint_that_hangs_once_is_asked_again(chat_server: ChatServer) -> None:
    chat_server.answers.append(None)
    # On a machine that stands still, later attempts may time out as well.
    assert await ask(chat_server, timeout_s=0.2, attempts=1000) == "Ok."


def deep() -> web.Response:
    return web.Response(text="[" * 100_000)


def endless() -> web.Response:
    return web.Response(text="x" * (9 * 1024 * 1024))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, r"within 0.2 s \(Timeout\)"),
        (lambda: web.Response(status=500, text="boom"), "500: boom"),
        (lambda: web.Response(text="<html>"), "no chat completion"),
        (lambda: web.json_response({"x": 1}), "no chat completion"),
        (lambda: web.json_response([]), "no chat completion"),
        (lambda: web.json_response({"choices": []}), "no chat completion"),
        (lambda: web.json_response({"choices": [{"message": "x"}]}), "no text"),
        (lambda: web.json_response({"choices": [{"message": {"content": 7}}]}), "no text"),
        (lambda: web.Response(body=b"\xff\xfe"), "no chat completion"),
        (deep, "no chat completion"),
        (endless, "longer than"),
    ],
)
async def test_without_a_usable_answer_the_error_says_why(
    chat_server: ChatServer, answer: Any, reason: str
) -> None:
    chat_server.default = answer
    with pytest.raises(EndpointError, match=reason) as caught:
        await ask(chat_server, timeout_s=0.2 if answer is None else HANG_S, attempts=2)
    assert f"{chat_server.url}/chat/completions (model m)" in str(caught.value)
    assert "in 2 attempts" in str(caught.value)
    if answer is not None:  # one that times out may do so before the server has read it
        assert len(chat_server.asked) == 2


async def test_a_refusal_is_not_repeated(chat_server: ChatServer) -> None:
    chat_server.default = chat_server.status(401, "who are you")
    with pytest.raises(RefusedError, match="401: who are you"):
        await ask(chat_server)
    assert len(chat_server.asked) == 1


async def test_an_endpoint_that_is_not_there(nobody: int) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{nobody}/v1"
        address = Address(url=url, model="m", attempts=2, first_pause_s=0.0)
        with pytest.raises(EndpointError, match="ClientConnector"):
            await ChatEndpoint(session, address).ask(HELLO, text_of)


async def test_an_unusable_answer_is_asked_for_again(chat_server: ChatServer) -> None:
    chat_server.answers.append(chat_server.message("7"))

    def letters(message: dict[str, Any]) -> str:
        if not text_of(message).startswith("O"):
            raise ValueError("it is no word")
        return text_of(message)

    async with aiohttp.ClientSession() as session:
        address = Address(url=chat_server.url, model="m", first_pause_s=0.0)
        assert await ChatEndpoint(session, address).ask(HELLO, letters, seed=3) == "Ok."
    assert chat_server.asked[0]["seed"] == 3


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, ""), (" a ", "a"), ("<think>x</think>\na", "a"), ("\ud800", "?")],
)
def test_text(content: str | None, text: str) -> None:
    assert text_of({"content": content}) == text
