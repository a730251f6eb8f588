"""What an endpoint's messages mean, and how a dialogue is told to it."""

import json
import re
from typing import Any

import pytest

from sea_data.evaluation.playing import chat_messages
from sea_data.evaluation.playing.agent import read_turn
from sea_env.chat_reply import UNREADABLE
from sea_env.tokens.messages import AgentTurn, ToolCall


def call(name: str, arguments: Any) -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("message", "turn"),
    [
        ({"content": "Hi."}, AgentTurn("Hi.")),
        ({"content": "<think>hm</think>Hi."}, AgentTurn("Hi.")),
        ({"content": None, "tool_calls": [call("f", '{"a":1}')]},
         AgentTurn("", (ToolCall("f", {"a": 1}),))),
        ({"content": "Wait.", "tool_calls": [call("f", ""), call("g", {"b": 2})]},
         AgentTurn("Wait.", (ToolCall("f", {}), ToolCall("g", {"b": 2})))),
        ({"content": '<tool_call>{"name":"f","arguments":{}}</tool_call>'},
         AgentTurn("", (ToolCall("f", {}),))),
        ({"content": None, "function_call": {"name": "f", "arguments": '{"a": 1}'}},
         AgentTurn("", (ToolCall("f", {"a": 1}),))),
        ({"content": None, "refusal": "I can't."}, AgentTurn("I can't.")),
        # As servers fill what doesn't apply.
        ({"content": "A", "function_call": {"name": "", "arguments": ""}}, AgentTurn("A")),
        ({"content": "A", "function_call": "f", "refusal": False}, AgentTurn("A")),
        ({"content": '{"name": "Jane", "zip": "8001"}'},
         AgentTurn('{"name": "Jane", "zip": "8001"}')),
    ],
)  # fmt: skip
def test_turns(message: dict[str, Any], turn: AgentTurn) -> None:
    assert read_turn({"finish_reason": "stop", **message}) == turn


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"content": ""}, "empty"),
        ({"content": None, "refusal": True}, "empty"),
        ({"content": None, "tool_calls": [call("f", '{"a":')]}, "aren't valid JSON"),
        ({"content": None, "tool_calls": [call("f", "[1]")]}, "aren't a JSON object"),
        ({"content": None, "tool_calls": [call("f", '{"a": Infinity}')]}, "isn't a JSON number"),
        ({"content": None, "tool_calls": [call("f", {"a": float("nan")})]}, "or NaN"),
        ({"content": None, "tool_calls": [call("f", {"a": "\ud800"})]}, "surrogate"),
        ({"content": None, "tool_calls": [call("f", {"a": 10**30})]}, "64 bits"),
        (
            {"content": None, "tool_calls": [call("f", {"a": json.loads("[" * 99 + "]" * 99)})]},
            "nested too deeply",
        ),
        ({"content": None, "tool_calls": [call("f", [1])]}, "aren't a JSON object"),
        ({"content": None, "tool_calls": [call("f", {})] * 65}, "more than 64 tool calls"),
        ({"content": '<tool_call>{"name":"f"}</tool_call>' * 65}, "more than 64 tool calls"),
        ({"content": "<tool_call>{"}, "does not close"),
        ({"content": "So", "finish_reason": "length"}, "token limit"),
        ({"content": "", "tool_calls": [call("f", "{")], "finish_reason": "length"}, "token limit"),
        ({"content": None, "finish_reason": UNREADABLE}, "can't read"),
    ],
)
def test_the_models_mistakes_are_turns(message: dict[str, Any], error: str) -> None:
    turn = read_turn(message)
    assert error in turn.error
    assert not turn.tool_calls
    assert turn.complete == (message.get("finish_reason") != "length")


def test_half_of_a_character_in_a_tools_name_goes_no_further() -> None:
    turn = read_turn({"content": None, "tool_calls": [call("find\ud800", {})]})
    assert turn.tool_calls == (ToolCall("find?", {}),)


@pytest.mark.parametrize("calls", ["x", [1], [{}], [{"function": {}}], [{"function": {"name": 3}}]])
def test_the_servers_mistakes_are_not(calls: Any) -> None:
    with pytest.raises(ValueError, match="it answered"):
        read_turn({"content": None, "tool_calls": calls})


MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "<tool_call>{", "error": "No JSON."},
    {"role": "tool", "content": "Error: No JSON."},
    {"role": "assistant", "content": "", "tool_calls": [
        {"name": "f", "arguments": {"a": "ü"}}, {"name": "g", "arguments": {}}]},
    {"role": "tool", "content": "1"},
    {"role": "tool", "content": "2"},
    {"role": "user", "content": "", "tool_calls": [{"name": "reboot", "arguments": {}}]},
    {"role": "tool", "requestor": "user", "content": "rebooted"},
    {"role": "user", "content": "Now?"},
]  # fmt: skip


def test_native_messages_name_the_calls_that_results_answer() -> None:
    shown = chat_messages.native(MESSAGES)
    roles = [message["role"] for message in shown]
    assert roles == ["user", "assistant", "user", "assistant", "tool", "tool", "user"]
    calls = shown[3]["tool_calls"]
    assert [c["id"] for c in calls] == [shown[4]["tool_call_id"], shown[5]["tool_call_id"]]
    # Mistral refuses any other id.
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", c["id"]) for c in calls)
    assert json.loads(calls[0]["function"]["arguments"]) == {"a": "ü"}
    assert "rebooted" not in json.dumps(shown), "the user's own calls are not the agent's business"


def test_tagged_messages_hold_calls_and_results_in_text() -> None:
    shown = chat_messages.tagged(MESSAGES)
    roles = [message["role"] for message in shown]
    assert roles == ["user", "assistant", "user", "assistant", "user", "user"]
    assert shown[3]["content"].startswith(
        '<tool_call>{"name":"f","arguments":{"a":"ü"}}</tool_call>'
    )
    assert shown[4]["content"] == (
        "<tool_response>1</tool_response><tool_response>2</tool_response>"
    )


@pytest.mark.parametrize(
    "text",
    [
        '<|python_tag|>{"name":"f","parameters":{}}',
        '{"type": "function", "name": "f", "parameters": {"a": 1}}',
        '{"name": "f", "arguments": {}}',
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>",
        '[TOOL_CALLS][{"name":"f","arguments":{}}]',
        "Wait.<\uff5ctool\u2581calls\u2581begin\uff5c>f",
        "<\uff5cDSML\uff5cfunction_calls>",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0",
        "<|tool_call_start|>[f()]<|tool_call_end|>",
        '<minimax:tool_call>\n<invoke name="f">',
        "Sure.\n<function=f>\n</function>",
        "```tool_code\nf()\n```",
        "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>",
    ],
)
def test_a_call_that_the_server_left_in_the_text_is_not_said_to_the_customer(text: str) -> None:
    turn = read_turn({"content": text, "finish_reason": "stop"})
    assert turn.error
    assert not turn.tool_calls
