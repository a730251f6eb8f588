"""A chat endpoint and its faults: real HTTP, no waiting."""

import asyncio
import json
import re
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sea_env.chat import MAX_ASKED_PAUSE_SECONDS, RATE_LIMIT_SECONDS, Address, ChatEndpoint, text_of
from sea_env.domains import registry
from sea_env.endpoint_errors import (
    ContextFullError,
    EndpointError,
    RateLimitedError,
    RefusedError,
    UnparsedTurnError,
)
from sea_testing.chat_server import ChatServer
from sea_testing.waiting import HANG_S

HELLO = [{"role": "user", "content": "Hello"}]


async def ask(
    server: ChatServer, pauses: list[float] | None = None, times: int = 1, **address: Any
) -> str:
    """The last of `times` answers of one endpoint; `pauses` gets what it waited."""

    async def sleep(seconds: float) -> None:
        if pauses is not None:
            pauses.append(seconds)

    async with aiohttp.ClientSession() as session:
        given = Address(url=server.url, model="m", **address)
        endpoint = ChatEndpoint(session, given, sleep)
        answers = [await endpoint.ask(HELLO, text_of, seed=3) for _ in range(times)]
        return answers[-1]


async def test_what_is_sent(chat_server: ChatServer) -> None:
    assert await ask(chat_server, api_key="k", temperature=None) == "Ok."
    assert chat_server.asked == [{"model": "m", "max_tokens": 2048, "seed": 3, "messages": HELLO}]
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


def refusal(status: int, message: str, **fields: Any) -> Any:
    body = {"error": {"message": message, **fields}}
    return lambda: web.json_response(body, status=status)


FULL = "This model's maximum context length is 8192 tokens and your request has {} input tokens"


async def test_a_prompt_that_leaves_less_room_is_asked_again_with_what_fits(
    chat_server: ChatServer,
) -> None:
    """Case 08: it was scored as a full context before the agent was asked at all."""
    chat_server.answers.append(refusal(400, FULL.format(203)))
    pauses: list[float] = []
    assert await ask(chat_server, pauses, max_tokens=8192) == "Ok."
    assert [body["max_tokens"] for body in chat_server.asked] == [8192, 7989]
    assert pauses == [], "it is no failure of the server"


async def test_where_the_server_did_not_count_the_prompt_it_decides_the_length(
    chat_server: ChatServer,
) -> None:
    chat_server.answers.append(
        refusal(400, "This model's maximum context length is 8192 tokens. However, you requested "
                "8000 output tokens and your prompt contains at least 193 input tokens.")
    )  # fmt: skip
    assert await ask(chat_server, max_tokens=8000) == "Ok."
    assert "max_tokens" not in chat_server.asked[1]


@pytest.mark.parametrize("prompt", [8192, 9000])
async def test_a_prompt_that_fills_the_context_has_its_own_error(
    chat_server: ChatServer, prompt: int
) -> None:
    chat_server.default = refusal(400, FULL.format(prompt))
    with pytest.raises(ContextFullError, match="doesn't fit the context of the model m"):
        await ask(chat_server, max_tokens=8192)
    assert len(chat_server.asked) == 1


async def test_a_server_that_contradicts_itself_is_given_up(chat_server: ChatServer) -> None:
    chat_server.default = refusal(400, FULL.format(1))
    with pytest.raises(ContextFullError):
        await ask(chat_server, max_tokens=5)
    assert len(chat_server.asked) <= 12


async def test_the_form_of_a_server_is_learned_once(chat_server: ChatServer) -> None:
    """Case 24: a server of OpenAI's newer kind, which wants another name and no temperature."""
    for name in ("max_tokens", "temperature", "seed"):
        chat_server.answers.append(refusal(400, "x", param=name, code="unsupported_parameter"))
    assert await ask(chat_server, times=3) == "Ok."
    forms = [sorted(body) for body in chat_server.asked]
    assert forms[3:] == [["max_completion_tokens", "messages", "model"]] * 3
    assert len(forms) == 6


async def test_requests_that_are_refused_at_the_same_time_all_learn(
    chat_server: ChatServer,
) -> None:
    """Of four first episodes one learned, and three had no verdict."""
    refused = refusal(400, "x", param="max_tokens", code="unsupported_parameter")
    answered = ChatServer.message("Ok.")
    chat_server.default = lambda: (refused if "max_tokens" in chat_server.asked[-1] else answered)()
    async with aiohttp.ClientSession() as session:
        endpoint = ChatEndpoint(session, Address(url=chat_server.url, model="m"))
        # All four are written before the first is answered.
        asked = [endpoint.ask(HELLO, text_of) for _ in range(4)]
        assert await asyncio.gather(*asked) == ["Ok."] * 4
    assert ["max_tokens" in body for body in chat_server.asked] == [True] * 4 + [False] * 4


async def test_a_parameter_that_no_other_form_replaces_is_refused(chat_server: ChatServer) -> None:
    chat_server.default = refusal(400, "x", param="model", code="unsupported_parameter")
    with pytest.raises(RefusedError, match="refuses the request: it answered 400: x"):
        await ask(chat_server)


UNREAD = refusal(500, "error parsing tool call: raw='{', err=unexpected end of JSON input")


async def test_a_call_that_the_server_cannot_read_is_the_agents_and_asked_once(
    chat_server: ChatServer,
) -> None:
    """It was asked four times, and then the episode had no verdict."""
    chat_server.answers.append(UNREAD)
    async with aiohttp.ClientSession() as session:
        endpoint = ChatEndpoint(session, Address(url=chat_server.url, model="m"))
        said = await endpoint.ask(HELLO, text_of, unreadable=lambda words: words)
    assert said.startswith("error parsing tool call: raw=")
    assert len(chat_server.asked) == 1


async def test_a_model_that_is_not_scored_gets_another_try(chat_server: ChatServer) -> None:
    chat_server.answers.append(UNREAD)
    assert await ask(chat_server, []) == "Ok."
    assert len(chat_server.asked) == 2


UNPARSED = refusal(
    500, "The model produced output that does not match the expected peg-native format"
)


async def scored(server: ChatServer, pauses: list[float]) -> str:
    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with aiohttp.ClientSession() as session:
        endpoint = ChatEndpoint(session, Address(url=server.url, model="m"), sleep)
        return await endpoint.ask(HELLO, text_of, unreadable=lambda words: words, seed=3)


async def test_a_turn_that_the_servers_parser_fails_on_is_asked_for_again(
    chat_server: ChatServer,
) -> None:
    """llama.cpp's fails on right turns: it was the agent's mistake at once. The same seed would
    give the same turn."""
    chat_server.answers += [UNPARSED, UNPARSED]
    assert await scored(chat_server, []) == "Ok."
    assert [body["seed"] for body in chat_server.asked] == [3, 4, 5]


async def test_a_parser_that_always_fails_is_no_mistake_of_the_agent(
    chat_server: ChatServer,
) -> None:
    chat_server.default = UNPARSED
    with pytest.raises(UnparsedTurnError, match="use another build of it or another server"):
        await scored(chat_server, [])
    assert len(chat_server.asked) == Address("", "").attempts


SILENT: list[dict[str, Any]] = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": ""},
    {"role": "user", "content": "Error: The turn is empty."},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]},
    {"role": "tool", "tool_call_id": "c", "content": "x"},
]
NO_EMPTY = refusal(400, "Assistant message must have either content or tool_calls, but not none.")


@pytest.mark.parametrize(
    ("refusals", "silent", "calling"),
    [(0, "", None), (1, "(empty)", ""), (2, "(empty)", "(empty)")],
)
async def test_messages_without_text_get_one_where_the_server_refuses_them(
    chat_server: ChatServer, refusals: int, silent: str, calling: str | None
) -> None:
    """OpenAI takes them; an empty turn of the agent cost the episode its verdict elsewhere."""
    chat_server.answers += [NO_EMPTY] * refusals
    async with aiohttp.ClientSession() as session:
        endpoint = ChatEndpoint(session, Address(url=chat_server.url, model="m"))
        for _ in range(2):
            assert await endpoint.ask(SILENT, text_of) == "Ok."
    assert len(chat_server.asked) == refusals + 2, "learned once"
    for body in chat_server.asked[refusals:]:
        texts = [message["content"] for message in body["messages"]]
        assert texts == ["Hello", silent, "Error: The turn is empty.", calling, "x"]


async def test_a_server_that_lacks_keywords_of_schemas_gets_tools_without_them(
    chat_server: ChatServer,
) -> None:
    """Gemini knows neither `$defs` nor `additionalProperties`: no airline's dialogue began."""
    at = "at 'tools[0].function_declarations[0].parameters': Cannot find field."
    for name in ("$defs", "additionalProperties"):
        words = f'Invalid JSON payload received. Unknown name "{name}" {at}'
        chat_server.answers.append(refusal(400, words))
    tools = [tool.schema() for tool in registry.get("airline").tools]
    async with aiohttp.ClientSession() as session:
        endpoint = ChatEndpoint(session, Address(url=chat_server.url, model="m"))
        for _ in range(2):
            assert await endpoint.ask(HELLO, text_of, tools=tools) == "Ok."
    first, *_, last = (body["tools"] for body in chat_server.asked)
    assert first == tools
    assert not re.search(r"\$defs|\$ref|additionalProperties", json.dumps(last))
    assert [tool["function"]["name"] for tool in last] == [t["function"]["name"] for t in tools]
    assert len(chat_server.asked) == 4


@pytest.mark.parametrize(
    ("messages", "sent"),
    [
        ([("system", "P"), ("user", "Q")], [("user", "P\n\nQ")]),
        ([("system", "P"), ("assistant", "Hi!")], [("user", "P"), ("assistant", "Hi!")]),
        ([("user", "Q")], [("user", "Q")]),
    ],
)
async def test_a_model_without_a_system_role_gets_the_policy_from_the_user(
    chat_server: ChatServer, messages: list[tuple[str, str]], sent: list[tuple[str, str]]
) -> None:
    """Gemma's templates, o1-mini: no episode had a verdict."""
    chat_server.answers.append(refusal(400, "System role not supported"))
    given = [{"role": role, "content": text} for role, text in messages]
    async with aiohttp.ClientSession() as session:
        endpoint = ChatEndpoint(session, Address(url=chat_server.url, model="m"))
        for _ in range(2):
            assert await endpoint.ask(given, text_of) == "Ok."
    for body in chat_server.asked[1:]:
        assert [(one["role"], one["content"]) for one in body["messages"]] == sent
    assert len(chat_server.asked) == 3


async def test_a_server_that_wants_a_user_first_gets_one_before_a_greeting(
    chat_server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    """tau2-bench's agents greet first; Gemma, Mistral, Anthropic and Bedrock refuse that."""
    roles = "Conversation roles must alternate user/assistant/user/assistant/..."
    chat_server.answers.append(refusal(400, roles))
    policy, greeting = {"role": "system", "content": "P"}, {"role": "assistant", "content": "Hi!"}
    async with aiohttp.ClientSession() as session:
        endpoint = ChatEndpoint(session, Address(url=chat_server.url, model="m"))
        assert await endpoint.ask([policy, greeting, *HELLO], text_of) == "Ok."
        assert await endpoint.ask([policy, *HELLO], text_of) == "Ok."
    sent = [[message["role"] for message in body["messages"]] for body in chat_server.asked]
    assert sent == [
        ["system", "assistant", "user"],
        ["system", "user", "assistant", "user"],
        ["system", "user"],
    ]
    (warned,) = caplog.messages
    assert "it gets '(empty)' before the model's greeting" in warned
    chat_server.default = refusal(400, roles)
    with pytest.raises(RefusedError, match="roles must alternate"):
        await ask(chat_server)


async def test_a_template_that_wants_objects_gets_the_arguments_of_calls_as_objects(
    chat_server: ChatServer,
) -> None:
    """Qwen's templates since Qwen3-Coder fail on a text; the episode had no verdict."""
    chat_server.answers.append(refusal(500, "Can only get item pairs from a mapping."))
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    calling: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [call]}
    messages: list[dict[str, Any]] = [*HELLO, calling]
    async with aiohttp.ClientSession() as session:
        endpoint = ChatEndpoint(session, Address(url=chat_server.url, model="m"))
        for _ in range(2):
            assert await endpoint.ask(messages, text_of) == "Ok."
    sent = [body["messages"][1]["tool_calls"][0]["function"] for body in chat_server.asked]
    assert [one["arguments"] for one in sent] == ['{"a": 1}', {"a": 1}, {"a": 1}]
    assert {one["name"] for one in sent} == {"f"}


async def test_a_server_that_refuses_every_form_of_a_message_is_not_asked_forever(
    chat_server: ChatServer,
) -> None:
    chat_server.default = NO_EMPTY
    with pytest.raises(RefusedError, match="must have either content or tool_calls"):
        await ask(chat_server)
    assert len(chat_server.asked) == 3


def finished(reason: Any) -> Any:
    choice = {"message": {"content": "Yes, I can"}, "finish_reason": reason}
    return lambda: web.json_response({"choices": [choice]})


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("function_call_filter: MALFORMED_FUNCTION_CALL", "malformed_function_call"),
        (None, None),
        (7, 7),
    ],
)
async def test_reasons_for_an_end_have_one_name_each(
    chat_server: ChatServer, given: Any, read: Any
) -> None:
    chat_server.answers.append(finished(given))
    async with aiohttp.ClientSession() as session:
        endpoint = ChatEndpoint(session, Address(url=chat_server.url, model="m"))
        assert await endpoint.ask(HELLO, lambda message: message["finish_reason"]) == read


@pytest.mark.parametrize("reason", ["content_filter", "content_filter: SAFETY", "error", "abort"])
async def test_an_answer_that_the_server_ended_is_asked_for_again(
    chat_server: ChatServer, reason: str
) -> None:
    """Half of a sentence was said to the customer."""
    chat_server.answers.append(finished(reason))
    assert await ask(chat_server, []) == "Ok."
    assert len(chat_server.asked) == 2


def limited(seconds: int) -> Any:
    return lambda: web.Response(status=429, headers={"Retry-After": str(seconds)})


async def test_a_minute_of_429_is_waited_out_as_the_server_asks(chat_server: ChatServer) -> None:
    """Case 10: four attempts within seconds, then the evaluation ended."""
    chat_server.answers += [limited(seconds) for seconds in (59, 30, 7, 1, 1, 1)]
    pauses: list[float] = []
    assert await ask(chat_server, pauses, attempts=2) == "Ok."
    for asked, waited in zip((59, 30, 7, 1, 1, 1), pauses, strict=True):
        assert asked <= waited <= 1.1 * asked


async def test_rate_limits_end_within_bounds(chat_server: ChatServer) -> None:
    chat_server.default = lambda: web.Response(status=429, headers={"Retry-After": "86400"})
    pauses: list[float] = []
    with pytest.raises(RateLimitedError, match="asked too often or busy for longer than 900 s"):
        await ask(chat_server, pauses)
    assert max(pauses) <= 1.1 * MAX_ASKED_PAUSE_SECONDS
    assert sum(pauses) <= RATE_LIMIT_SECONDS


async def test_a_busy_server_that_says_for_how_long_is_waited_for(chat_server: ChatServer) -> None:
    chat_server.answers += [
        lambda: web.Response(status=503, headers={"Retry-After": "20"}) for _ in range(5)
    ]
    assert await ask(chat_server, attempts=2) == "Ok."


async def test_an_account_without_money_is_not_waited_for(chat_server: ChatServer) -> None:
    chat_server.default = refusal(429, "You exceeded your quota", code="insufficient_quota")
    with pytest.raises(RefusedError, match="quota"):
        await ask(chat_server)
    assert len(chat_server.asked) == 1


async def test_an_error_in_a_reply_of_status_200_is_one(chat_server: ChatServer) -> None:
    chat_server.answers.append(refusal(200, "Provider returned error", code=502))
    assert await ask(chat_server) == "Ok."
    assert len(chat_server.asked) == 2


async def test_a_content_of_parts_is_one_text(chat_server: ChatServer) -> None:
    parts = [{"type": "text", "text": "Your "}, {"type": "text", "text": "email?"}]
    chat_server.default = lambda: web.json_response({"choices": [{"message": {"content": parts}}]})
    assert await ask(chat_server) == "Your email?"


async def thoughts_sent(server: ChatServer, name: str) -> list[dict[str, Any]]:
    """What a message with thoughts is sent as, before and after the server's first answer."""
    answer = {"choices": [{"message": {"content": "Ok.", name: "hm"}}]}
    server.default = lambda: web.json_response(answer)
    said = [{"role": "assistant", "content": "a", "reasoning_content": "t"}]
    async with aiohttp.ClientSession() as session:
        endpoint = ChatEndpoint(session, Address(url=server.url, model="m"))
        for _ in range(2):
            await endpoint.ask(said, text_of)
    return [body["messages"][0] for body in server.asked]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_thoughts_go_back_under_the_name_that_the_server_uses(
    chat_server: ChatServer, name: str
) -> None:
    sent = await thoughts_sent(chat_server, name)
    assert sent[1] == {"role": "assistant", "content": "a", name: "t"}


async def test_thoughts_are_left_out_where_they_are_refused(chat_server: ChatServer) -> None:
    chat_server.answers.append(
        refusal(400, "'messages.2' : property 'reasoning_content' is unsupported")
    )
    sent = await thoughts_sent(chat_server, "reasoning_content")
    assert sent[1:] == [{"role": "assistant", "content": "a"}] * 2


MISSING = "The `reasoning_content` in the thinking mode must be passed back to the API."


async def test_a_server_that_wants_thoughts_in_every_turn_gets_empty_ones(
    chat_server: ChatServer,
) -> None:
    """DeepSeek V4 refused the dialogue after the first turn in which its model hadn't thought."""
    chat_server.answers.append(refusal(400, MISSING))
    turns = [
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a", "reasoning_content": "t"},
        {"role": "assistant", "content": "b"},
    ]
    async with aiohttp.ClientSession() as session:
        endpoint = ChatEndpoint(session, Address(url=chat_server.url, model="m"))
        assert await endpoint.ask(turns, text_of) == "Ok."
        thoughts = [m.get("reasoning_content") for m in chat_server.asked[1]["messages"]]
        assert thoughts == [None, "t", ""]
        chat_server.default = refusal(400, MISSING)
        with pytest.raises(RefusedError, match="must be passed back"):
            await endpoint.ask(turns, text_of)


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, ""), (" a ", "a"), ("<think>x</think>\na", "a"), ("\ud800", "?")],
)
def test_text(content: str | None, text: str) -> None:
    assert text_of({"content": content}) == text
