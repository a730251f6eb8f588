"""Rows as other programs write them are read exactly, or refused with what to do instead."""

import json
from typing import Any

import pytest

from sea_data.errors import RowError
from sea_data.formats import repair
from sea_data.formats.dialogue import dialogue, tools_of
from sea_data.formats.inspection import Inspector
from sea_env.tokens import tool_prompt

SYSTEM = {"role": "system", "content": "S"}
USER = {"role": "user", "content": "U"}
SAID = {"role": "assistant", "content": "A"}
CALLING = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ],
}
TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
    },
}


def row(*messages: dict[str, Any], answer: Any = SAID, **more: Any) -> dict[str, Any]:
    return {"messages": list(messages or (SYSTEM, USER)), "answer": answer, "metadata": {}, **more}


def with_parameters(parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


def result(identity: str) -> dict[str, Any]:
    return {"role": "tool", "content": identity, "tool_call_id": identity}


SHAREGPT = [{"from": "human", "value": "U"}, {"from": "gpt", "value": "A"}]
LAYOUTS: dict[str, dict[str, Any]] = {
    "sharegpt": {"conversations": SHAREGPT},
    "hermes": {"id": "1", "conversations": SHAREGPT, "tools": "[]", "category": "x"},
    "apigen-mt": {
        "system": "S",
        "tools": "[]",
        "conversations": [
            {"from": "human", "value": "U"},
            {"from": "function_call", "value": '{"name": "f", "arguments": {}}'},
            {"from": "observation", "value": "{}"},
            {"from": "gpt", "value": "A"},
        ],
    },
    "toolace": {
        "system": "S",
        "conversations": [{"from": "user", "value": "U"}, {"from": "assistant", "value": "[f()]"}],
    },
    "xlam": {"id": 0, "query": "U", "answers": '[{"name": "f", "arguments": {}}]', "tools": "[]"},
    "preferences": {"prompt": "U", "chosen": "A", "rejected": "B"},
    "completions": {"prompt": "U", "completion": "A"},
    "alpaca": {"instruction": "U", "input": "", "output": "A"},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_another_layout_is_named(name: str) -> None:
    for read in (dialogue, Inspector().notes):
        with pytest.raises(RowError, match=r"the row's layout is .*write `messages`"):
            read(LAYOUTS[name])


def test_a_chat_file_without_an_answer_says_where_it_goes() -> None:
    with pytest.raises(RowError, match=r"take the last assistant message out .*whole_dialogue"):
        dialogue({"messages": [SYSTEM, USER, SAID]})


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (row(functions=[{"name": "f"}]), "functions"),
        (row(chat_template_kwargs={"enable_thinking": False}), "chat_template_kwargs"),
        (row(images=["a.png"]), "images"),
        (row(SYSTEM, USER, SAID | {"function_call": {"name": "f"}}, USER), "function_call"),
        (row(SYSTEM, USER, SAID | {"weight": 0}, USER), "weight"),
        (row(SYSTEM, USER, SAID | {"train": False}, USER), "train"),
        (row(answer=SAID | {"weight": 0.5}), "weight"),
        (row(answer=SAID | {"prefix": True}), "prefix"),
        (row(answer=SAID | {"reasoning_details": [{"text": "T"}]}), "reasoning_details"),
        (row(answer=SAID | {"thinking_blocks": [{"thinking": "T"}]}), "thinking_blocks"),
        (row(SYSTEM, USER | {"content": [{"type": "image_url"}]}), "content"),
        (row(SYSTEM, USER | {"content": [{"type": "text", "text": "a"}, "b"]}), "content"),
        (row(SYSTEM, USER | {"content": [{"type": "text", "text": None}]}), "content"),
        (row(SYSTEM, USER, CALLING, result("c2"), result("c1")), "tool_call_id"),
        (row(tools=[{"name": "f", "parameters": {}}]), "tools"),
        (row(tools="[{"), "tools"),
        (row(tools="[" * 5000), "tools"),
        (row(tools=[with_parameters("x")]), "tools[0].function.parameters"),
        (row(tools=[with_parameters({"properties": ["a"]})]), "tools[0].function.parameters"),
        (row(tools=[with_parameters({"properties": {"a": True}})]), "tools[0].function.parameters"),
        (row(tools=[with_parameters({"properties": {"a": {"type": 1}}})]), "tools[0]"),
        (row(tools=[with_parameters({"required": 1})]), "tools[0].function.parameters"),
        (row(tools={"f": {}}), "tools"),
        (row(USER, tools=[TOOL]), "tools"),
    ],
)
def test_what_nothing_here_follows_is_refused(given: dict[str, Any], field: str) -> None:
    with pytest.raises(RowError) as error:
        dialogue(given)
    assert field in error.value.field
    assert len(error.value.reason) > 10


@pytest.mark.parametrize(
    "given",
    [
        row(SYSTEM, USER, SAID | {"weight": 1}, USER),
        row(SYSTEM, USER, SAID | {"train": True, "weight": None, "prefix": False}, USER),
        row(answer=SAID | {"reasoning": "T", "reasoning_details": [{"text": "T"}]}),
        row(SYSTEM, USER, CALLING, result("c1"), result("c2")),
        row(SYSTEM, USER, CALLING, {"role": "tool", "content": "r"}, result("c2")),
        row(functions=None, images=[], tools=None),
    ],
)
def test_what_says_the_same_is_read(given: dict[str, Any]) -> None:
    assert dialogue(given).messages[-1]["content"] == "A"


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert dialogue(row(SYSTEM, USER | {"content": parts})).messages[1]["content"] == "ab"


@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL])])
def test_the_rows_own_tools_are_listed_for_the_model(tools: Any) -> None:
    """As published tool-use sets have them; a model trained without the list would guess."""
    found = dialogue(row(tools=tools))
    assert tools_of(found.messages) == {"f": TOOL["function"]["parameters"]}  # type: ignore[index]
    listed = [dict(message) for message in found.messages[:2]]
    assert dialogue(row(*listed, tools=tools)).messages == found.messages, "they are listed once"
    other = {"type": "function", "function": {"name": "g"}}
    with pytest.raises(RowError, match="differ from those"):
        dialogue(row(*listed, tools=[other]))


@pytest.mark.parametrize(
    "listed", [with_parameters("x"), with_parameters({"properties": {"a": {"type": [[]]}}})]
)
def test_a_prompt_that_lists_something_else_than_schemas_checks_no_calls(listed: Any) -> None:
    prompt = {"role": "system", "content": tool_prompt.write("S", [listed])}
    call = {"name": "f", "arguments": {"a": None}}
    given = row(prompt, USER, answer=SAID | {"tool_calls": [call]})
    assert Inspector().notes(given) == []
    assert repair.repair(given, {})[1] == {}


@pytest.mark.parametrize(
    ("messages", "notes"),
    [
        ([USER, CALLING, result("c1"), result("c2")], []),
        ([USER, result("c1")], ["messages[1] is a tool's result that answers no call"]),
        (
            [USER, CALLING, result("c1"), USER],
            ["messages[3] follows calls without a result: 1"],
        ),
        (
            [USER, CALLING, result("c1"), result("c2"), {"role": "tool", "content": "r"}],
            ["messages[4] is a tool's result that answers no call"],
        ),
    ],
)
def test_results_without_a_call_and_calls_without_a_result_are_noted(
    messages: list[dict[str, Any]], notes: list[str]
) -> None:
    assert Inspector().notes(row(*messages)) == notes


def test_calls_are_checked_against_the_rows_own_tools() -> None:
    call = {"name": "f", "arguments": {"b": 1}}
    (note,) = Inspector().notes(row(answer=SAID | {"tool_calls": [call]}, tools=[TOOL]))
    assert "has the argument 'b', which the tool doesn't have" in note


def test_the_old_form_of_a_call_is_repaired() -> None:
    old = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    fixed, done = repair.repair(row(SYSTEM, USER, old, {"role": "tool", "content": "r"}), {})
    assert done == {repair.OLD_CALLS: 1}
    calls = dialogue(fixed).messages[2]["tool_calls"]
    assert calls == [{"name": "f", "arguments": {}}]


def test_nulls_are_removed_by_the_rows_own_tools() -> None:
    call = {"name": "f", "arguments": {"a": "x", "b": None}}
    given = row(answer=SAID | {"tool_calls": [call]}, tools=[TOOL])
    assert repair.repair(given, {})[1] == {repair.NULLS: 1}
