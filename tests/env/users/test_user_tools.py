"""Users with tools: behind an endpoint, as tokens of a model, and by a script."""

import json
import re
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sea_data.formats import rl
from sea_data.tiny_model import tokenizer
from sea_env.chat import Address, ChatEndpoint
from sea_env.domains import registry
from sea_env.tokens.messages import AgentTurn, Message, ToolCall
from sea_env.tokens.renderer import Renderer
from sea_env.users.base import Reply, Signal, UserUnavailableError, task_user_tools
from sea_env.users.model import ModelUser
from sea_env.users.openai_chat import ExternalUser, exchanged
from sea_env.users.scripted import ScriptedUser, requested_call
from sea_testing.served import served

TELECOM = registry.get("telecom")
TOOLS = TELECOM.user_tools
BY_NAME = {tool.name: tool for tool in TOOLS}
SCENARIO = {"instructions": {"domain": "telecom", "reason_for_call": "No service."}}
LOOK = {"name": "check_status_bar", "arguments": {}}
HEARD: list[Message] = [
    {"role": "user", "content": "No service."},
    {"role": "assistant", "content": "Look at your phone."},
    {"role": "user", "content": "", "tool_calls": [LOOK]},
    {"role": "tool", "requestor": "user", "content": "Airplane Mode"},
]


async def ask(
    answers: Sequence[Any], heard: Sequence[Message] = HEARD
) -> tuple[Reply, list[dict[str, Any]]]:
    """The user's reply at an endpoint that answers these messages, and what it was asked."""
    asked: list[dict[str, Any]] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(await request.json())
        message = answers[min(len(asked), len(answers)) - 1]
        return web.json_response({"choices": [{"message": message}]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    async with served(app) as url, aiohttp.ClientSession() as session:
        address = Address(f"{url}/v1", "m", attempts=2, first_pause_s=0.001)
        user = ExternalUser(SCENARIO, ChatEndpoint(session, address), TOOLS)
        return await user.reply(heard), asked


def called(name: str, arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"content": None, "tool_calls": [{"id": "x", "type": "function", "function": function}]}


async def test_an_endpoint_gets_the_tools_and_their_results() -> None:
    reply, asked = await ask([{"content": "It says airplane mode."}])
    assert reply == "It says airplane mode."
    body = asked[0]
    assert [tool["function"]["name"] for tool in body["tools"]] == [tool.name for tool in TOOLS]
    system, *_, words, call, result = body["messages"]
    assert "You have tools" in system["content"]
    assert words == {"role": "user", "content": "Look at your phone."}
    assert call["role"] == "assistant"
    assert call["tool_calls"][0]["function"] == {"name": "check_status_bar", "arguments": "{}"}
    assert result == {
        "role": "tool",
        "tool_call_id": call["tool_calls"][0]["id"],
        "content": "Airplane Mode",
    }


async def test_an_endpoints_calls_become_the_users_turn() -> None:
    reply, _ = await ask([called("set_network_mode_preference", '{"mode": "4g_only"}')])
    assert reply == AgentTurn("", (ToolCall("set_network_mode_preference", {"mode": "4g_only"}),))
    nothings: list[Any] = ["", "null", None, {}]
    for nothing in nothings:
        reply, _ = await ask([called("toggle_data", nothing)])
        assert reply == AgentTurn("", (ToolCall("toggle_data", {}),))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (called("toggle_data", "{nope"), "aren't valid JSON"),
        (called("toggle_data", "[1]"), "aren't a JSON object"),
        ({"content": "<|python_tag|>toggle_data()"}, "a call as text"),
        (called("toggle_data", '{"a": NaN}'), "isn't a JSON number"),
        (called("toggle_data", '{"a": "\\ud800"}'), "surrogate"),
        (called("toggle_\ud800", "{}"), "surrogate"),
        (called("", "{}"), "without a name"),
        (called("toggle_data", f'{{"n": {10**30}}}'), "more than 64 bits"),
        (called("toggle_data", '{"n": "\\ud83d"}'), "half of a surrogate pair"),
        ({"content": "", "tool_calls": ["x"]}, "without a name"),
        ({"content": "", "tool_calls": "x"}, "no list"),
        ({"content": "", "tool_calls": [called("f", "{}")] * 65}, "65 tool calls at once"),
        ({"content": " "}, "empty message"),
    ],
)
async def test_a_malformed_call_makes_the_endpoint_be_asked_again(
    message: Any, reason: str
) -> None:
    reply, asked = await ask([message, {"content": "Again."}])
    assert (reply, len(asked)) == ("Again.", 2)
    with pytest.raises(UserUnavailableError, match=reason):
        await ask([message])


def test_calls_and_results_keep_their_pairs() -> None:
    two: list[Message] = [
        {"role": "user", "content": "", "tool_calls": [LOOK, LOOK]},
        {"role": "tool", "requestor": "user", "content": "a"},
        {"role": "tool", "requestor": "user", "content": "b"},
        {"role": "user", "content": "", "error": "It isn't JSON."},
        {"role": "tool", "requestor": "user", "content": "Error: It isn't JSON."},
    ]
    found = list(exchanged(two))
    ids = [call["id"] for call in found[0]["tool_calls"]]
    assert [found[1]["tool_call_id"], found[2]["tool_call_id"]] == ids
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", one) for one in ids)
    assert found[4] == {"role": "user", "content": "Error: It isn't JSON."}
    json.dumps(found)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(tokenizer.train(["user\n", "assistant\n"] * 3, 300))


async def test_a_models_calls_and_results_stay_in_its_own_dialogue(renderer: Renderer) -> None:
    written: list[Message] = [
        {"role": "assistant", "content": "", "tool_calls": [LOOK]},
        {"role": "assistant", "content": "It says airplane mode."},
    ]
    prompts: list[list[int]] = []

    async def generate(ids: Sequence[int], max_tokens: int) -> Sequence[int]:
        prompts.append(list(ids))
        return renderer.agent_turn(written[len(prompts) - 1])

    user = ModelUser(
        SCENARIO, renderer, generate, context_length=50_000, max_tokens=500, tools=TOOLS
    )
    assert await user.reply(HEARD[:2]) == AgentTurn("", (ToolCall("check_status_bar", {}),))
    first = renderer.decode(prompts[0])
    assert "toggle_airplane_mode" in first
    assert "<|im_start|>assistant\nNo service.<|im_end|>" in first
    assert await user.reply(HEARD) == "It says airplane mode."
    own = renderer.agent_turn(written[0])
    assert prompts[1][: len(prompts[0]) + len(own)] == [*prompts[0], *own]
    assert "<tool_response>Airplane Mode</tool_response>" in renderer.decode(prompts[1])


@pytest.mark.parametrize(
    ("text", "with_tools"),
    [("<tool_call>{nope</tool_call>", True), ("<tool_call>{nope</tool_call>", False), ("", True)],
)
async def test_a_malformed_or_empty_turn_of_a_model(
    renderer: Renderer, text: str, with_tools: bool
) -> None:
    ids = [*renderer._tokenizer.encode(text).ids, renderer.end_id]

    async def generate(_: Sequence[int], __: int) -> Sequence[int]:
        return ids

    tools = TOOLS if with_tools else ()
    user = ModelUser(
        SCENARIO, renderer, generate, context_length=50_000, max_tokens=500, tools=tools
    )
    reply = await user.reply([])
    if not text:
        assert reply == Signal.STOP
    elif with_tools:
        assert isinstance(reply, AgentTurn)
        assert reply.error
    else:
        assert isinstance(reply, str)


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("Please toggle roaming now.", ToolCall("toggle_roaming", {})),
        ("Use `reboot_device`, then toggle_data", ToolCall("reboot_device", {})),
        ("set_network_mode_preference, please", None),
        ("grant_app_permission {oops", None),
        (f'set_network_mode_preference {{"mode": {10**30}}}', None),
        ('set_network_mode_preference {"mode": "\\ud83d"}', None),
        (
            'Use set_network_mode_preference({"mode": "4g_only"}).',
            ToolCall("set_network_mode_preference", {"mode": "4g_only"}),
        ),
        ("What is your name?", None),
        ("toggle_wifi_calling", ToolCall("toggle_wifi_calling", {})),
        ('toggle_data {"why": "\\ud800"}', ToolCall("toggle_data", {})),
        ('toggle_data {"why": NaN}', ToolCall("toggle_data", {})),
    ],
)
def test_a_script_does_what_the_agent_names(text: str, call: ToolCall | None) -> None:
    assert requested_call(text, BY_NAME) == call


def test_a_script_acts_and_says_what_it_saw() -> None:
    user = ScriptedUser(SCENARIO, 0, TOOLS)
    assert user.say([]) == "No service."
    heard: list[Message] = [{"role": "assistant", "content": "Please check_status_bar."}]
    assert user.say(heard) == AgentTurn("", (ToolCall("check_status_bar", {}),))
    heard += HEARD[2:]
    assert user.say(heard) == "I did that. It says: Airplane Mode"


def test_a_task_may_take_tools_away() -> None:
    all_of_them = rl.task({"id": "telecom_1"})
    assert task_user_tools(TELECOM, all_of_them) == TOOLS
    some = rl.task({"id": "telecom_1", "user_tools": ["toggle_data"]})
    assert [tool.name for tool in task_user_tools(TELECOM, some)] == ["toggle_data"]
