"""Calls and thoughts in dialogue rows: read as the model's template does, refused, or repaired."""

import json
from pathlib import Path
from typing import Any

import pytest

from sea_cli import main
from sea_data.errors import RowError
from sea_data.formats import repair, sequences
from sea_data.formats.dialogue import dialogue
from sea_data.formats.inspection import Inspector
from sea_data.formats.model_demands import demands
from sea_data.formats.perspective import agent_side, exchange
from sea_data.formats.sequences import TokenCounts
from sea_data.tiny_model import tokenizer
from sea_env.tokens import tool_prompt
from sea_env.tokens.chat_template import ChatTemplate
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import CallFormat, Style, Thinking


def tool(name: str, required: list[str], /, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


TEXT, OPTIONAL = {"type": "string"}, {"anyOf": [{"type": "string"}, {"type": "null"}]}
TOOLS = [
    tool("get_order", ["order_id"], order_id=TEXT, note=OPTIONAL),
    tool("find_user", ["name"], name=TEXT, zip=TEXT, count={"type": "integer"}),
]
SYSTEM = {"role": "system", "content": tool_prompt.write("Be kind.", TOOLS)}


def row(content: str = "Done.", calls: Any = None, **answer: Any) -> dict[str, Any]:
    """One row: a turn with calls, its results, the answer."""
    messages = [SYSTEM, {"role": "user", "content": "Hello"}]
    if calls is not None:
        messages.append({"role": "assistant", "content": "", "tool_calls": calls})
        messages += [{"role": "tool", "content": "{}"} for _ in calls]
    return {"messages": messages, "answer": {"content": content, **answer}}


def call(name: str, /, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


FILLED = call("get_order", order_id="#W1", name=None, zip=None, count=None)


@pytest.mark.parametrize(
    ("content", "thinking", "text"),
    [
        ("<think>\nGreet them.\n</think>\n\nHi there!", "Greet them.", "Hi there!"),
        ("<think>ok</think>It is pending.", "ok", "It is pending."),
        ("Half open.\n</think>\n\nHi!", "Half open.", "Hi!"),
        ("<think>\n\n</think>\n\nHi!", None, "Hi!"),
    ],
)
def test_a_thought_in_the_text_is_a_thought(content: str, thinking: str | None, text: str) -> None:
    found = dialogue(row(content)).messages[-1]
    assert (found.get("thinking"), found["content"]) == (thinking, text)


def test_a_thought_beside_calls_is_a_thought() -> None:
    calls = [call("get_order", order_id="#W1")]
    found = dialogue(row("<think>\nLook first.\n</think>\n\n", tool_calls=calls)).messages[-1]
    assert (found["thinking"], found["content"]) == ("Look first.", "")
    assert found["tool_calls"] == calls


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("Hi <think>no</think> there", "<think> in the middle"),
        ("<think>a</think>b</think>c", "</think> in the middle"),
        ("<think>a<think>b</think>c", "<think> in the middle"),
        ("<think>never closed", "<think> in the middle"),
        ('<tool_call>\n{"name": "get_order"}\n</tool_call>', "<tool_call> in the middle"),
        ("Bye<|im_end|>", r"<\|im_end\|> in the middle"),
        ("<think>\nx\n</think>\n\n", "neither text nor tool calls"),
    ],
)
def test_a_text_that_spells_a_tag_is_refused(content: str, words: str) -> None:
    with pytest.raises(RowError, match=words):
        dialogue(row(content))


def test_two_thoughts_are_refused() -> None:
    with pytest.raises(RowError, match="thought of its own"):
        dialogue(row("<think>a</think>b", thinking="c"))


def test_a_users_text_with_a_tag_is_not_trained() -> None:
    given = row()
    given["messages"][1]["content"] = "What is <tool_call>?"
    assert dialogue(given)
    with pytest.raises(RowError, match=r"messages\[1\].content.*<tool_call>"):
        exchange(dialogue(given))


@pytest.mark.parametrize("value", [None, "", "null", "{}", {}])
def test_what_files_have_for_no_arguments(value: Any) -> None:
    found = dialogue(row(calls=[{"name": "list_orders", "arguments": value}])).messages[2]
    assert found["tool_calls"] == [{"name": "list_orders", "arguments": {}}]


@pytest.mark.parametrize(
    "calls",
    [
        [FILLED],
        [
            {
                "type": "function",
                "function": {**FILLED, "arguments": json.dumps(FILLED["arguments"])},
            }
        ],
    ],
)
def test_arguments_that_datasets_filled_in_are_refused_and_repaired(calls: Any) -> None:
    given = row(calls=calls)
    with pytest.raises(RowError, match=r"messages\[2\].*null for name, zip, count.*sea data fix"):
        dialogue(given)
    fixed, done = repair.repair(given, {})
    assert dialogue(fixed).messages[2]["tool_calls"] == [call("get_order", order_id="#W1")]
    assert done == {repair.NULLS: 3}
    assert repair.repair(fixed, {}) == (fixed, {})


def test_a_null_that_the_tool_takes_stays() -> None:
    given = row(calls=[call("get_order", order_id="#W1", note=None)])
    assert Inspector().notes(given) == []
    assert repair.repair(given, {})[0] == given


def test_a_required_argument_that_is_null_is_nobodys_filling() -> None:
    given = row(calls=[call("get_order", order_id=None)])
    assert repair.repair(given, {})[0] == given
    assert "is no string" in Inspector().notes(given)[0]


def test_tools_of_the_domain_help_where_the_prompt_lists_none() -> None:
    given = row(calls=[FILLED])
    given["messages"][0] = {"role": "system", "content": "Be kind."}
    assert repair.repair(given, {})[1] == {}
    assert repair.repair(given, tool_prompt.parameters(TOOLS))[1] == {repair.NULLS: 3}


@pytest.mark.parametrize(
    ("made", "note"),
    [
        (call("get_order", order_id="#W1", x=1), "has the argument 'x'"),
        (call("get_order"), "lacks the argument 'order_id'"),
        (call("get_order", order_id=7), "has order_id 7, which is no string"),
        (call("find_user", name="A", count=True), "has count True, which is no integer"),
        (call("find_user", name="A", count=2.0), ""),
        (call("drop_table"), "is no tool of the row's own prompt"),
    ],
)
def test_other_mistakes_are_notes(made: dict[str, Any], note: str) -> None:
    """Published dialogues have calls that fail and that the agent then corrects."""
    notes = Inspector().notes(row(calls=[made]))
    assert len(notes) == bool(note)
    assert not note or (note in notes[0] and notes[0].startswith("messages[2].tool_calls[0]"))


CALL_TEXT = '<tool_call>\n{"name": "get_order", "arguments": {"order_id": "#W1"}}\n</tool_call>'


@pytest.mark.parametrize("end", ["", "<|im_end|>"])
@pytest.mark.parametrize("before", ["", "Let me look.\n", "<think>\nx\n</think>\n\n"])
def test_calls_in_a_text_are_repaired(before: str, end: str) -> None:
    fixed, done = repair.repair(row(before + CALL_TEXT + end), {})
    found = dialogue(fixed).messages[-1]
    assert found["tool_calls"] == [call("get_order", order_id="#W1")]
    assert done == {repair.CALLS: 1}


def test_a_call_that_cannot_be_read_is_left_and_named() -> None:
    given = row("<tool_call>{nope</tool_call>")
    assert repair.repair(given, {}) == (given, {})


STYLES = [
    Style(calls, thinking)
    for calls in CallFormat
    for thinking in (Thinking.NONE, Thinking.OWN, Thinking.PROMPTED)
]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "content", ["Done.", "<think>\nx\n</think>\n\nDone.", "  Done.\n", "Half.</think>Done."]
)
@pytest.mark.parametrize("calls", [[], [call("get_order", order_id="\n#W1"), call("find_user")]])
def test_what_is_trained_reads_back(style: Style, content: str, calls: Any) -> None:
    """In every format: the reader of turns accepts what SFT teaches."""
    renderer = Renderer(tokenizer.train(["user\nassistant\n"] * 3, 400), style)
    message = dialogue(row(content, tool_calls=calls)).messages[-1]
    turn = renderer.parse(renderer.agent_turn(message), tool_prompt.parameters(TOOLS))
    assert turn.error == ""
    assert turn.text == message["content"].strip()
    assert [one.as_dict() for one in turn.tool_calls] == calls
    thought = message.get("thinking", "") if style.thinking is not Thinking.NONE else ""
    assert turn.thinking == thought


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row(), row(calls=[FILLED, FILLED]), row(CALL_TEXT), row("a<think>b")]
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\nnot json\n")
    assert main(["data", "fix", str(file), "--out", str(out)]) == 1
    said = capsys.readouterr().out
    assert f"4 rows; 6 {repair.NULLS}; 1 {repair.CALLS}" in said
    assert f"{file}:4: answer.content: has <think>" in said
    assert f"{file}:5:" in said
    assert "2 rows are still bad" in said
    good = [json.loads(line) for line in out.read_text().splitlines()[:3]]
    assert [dialogue(one).messages[-1]["content"] for one in good] == ["Done.", "Done.", ""]


NAMES = ["f", "f g", "f\ng", " f", "f>", "é", "f=x", "a.b-c", "<", "f/", "\t"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["call", "argument"])
def test_names_that_are_trained_are_read_back(name: str, place: str) -> None:
    """`<function= f>` and `<parameter=a>b>` were trained, and refused by the product's reader."""
    made = call(name) if place == "call" else call("f", **{name: "v"})
    found, counts = dialogue(row(calls=[made])), TokenCounts()
    for calls in CallFormat:
        renderer = Renderer(tokenizer.train(["user\n"] * 3, 300), Style(calls))
        encoded = sequences.encode([found], renderer, 9999, counts, skip_bad=True)
        trained = bool(list(encoded))
        turn = renderer.parse(renderer.agent_turn(found.messages[2]))
        read = [one.as_dict() for one in turn.tool_calls] == [made]
        assert trained == read, calls
        assert read or calls is CallFormat.QWEN3_XML


def test_a_call_without_a_name_is_a_bad_row() -> None:
    with pytest.raises(RowError, match=r"tool_calls\[0\]: must be an object with a name"):
        dialogue(row(calls=[call("")]))


RAISES = "{{ raise_exception('System message must be at the beginning.') }}"
LATER = "{% if m.role == 'system' and not loop.first %}LATER{% else %}"
TURN = "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"


@pytest.mark.parametrize(("later", "taken"), [(TURN, True), (RAISES, False), ("", False)])
def test_a_later_system_message_is_refused_for_a_model_whose_template_refuses_it(
    later: str, taken: bool
) -> None:
    """Qwen3.5 and later raise; who serves such a model can't send what it was trained on."""
    source = f"{{% for m in messages %}}{LATER}{TURN}{{% endif %}}{{% endfor %}}"
    template = ChatTemplate(source.replace("LATER", later))
    renderer = Renderer(tokenizer.train(["user\n"] * 3, 300), Style(), template)
    given = row()
    given["messages"] += [{"role": "system", "content": "Now."}, {"role": "user", "content": "Q"}]
    counts = TokenCounts()
    (note,) = Inspector().notes(given)
    assert note.startswith("messages[2] can't train models whose chat template refuses it")
    if taken:
        assert Inspector(model=renderer).notes(given) == []
        assert list(sequences.encode([dialogue(given)], renderer, 9999, counts))
        return
    with pytest.raises(RowError, match=r"messages\[2\]: is a system message after the first"):
        list(sequences.encode([dialogue(given)], renderer, 9999, counts))
    assert not list(sequences.encode([dialogue(given)], renderer, 9999, counts, skip_bad=True))
    with pytest.raises(RowError, match=r"^messages\[2\]: is a system message after the first"):
        Inspector(model=renderer).notes(given)
    failed = {**given, "metadata": {"reward": 0.0}}
    assert Inspector(model=renderer).notes(failed) == [], "nothing trains on it"


def test_errors_of_a_side_name_the_message_as_the_row_has_it() -> None:
    """A side leaves out what the other one does: the message after it had another number."""
    wrong = call("find_user", name="a</parameter>b", zip="1")
    given = row(answer={"role": "assistant", "content": "Ok."})
    rebooted = {"role": "user", "content": "", "tool_calls": [call("reboot_device")]}
    result = {"role": "tool", "content": "Done.", "requestor": "user"}
    calling = {"role": "assistant", "content": "", "tool_calls": [wrong]}
    given["messages"] += [rebooted, result, calling, {"role": "tool", "content": "{}"}]
    (note,) = Inspector().notes(given)
    assert note.startswith("messages[4].tool_calls[0] can't train models")
    twice = agent_side(agent_side(dialogue(given)))
    assert [error.field for error in demands(twice).values()] == ["messages[4].tool_calls[0]"]
    given["messages"] = given["messages"][:4]
    given["answer"] = calling
    assert Inspector().notes(given)[-1].startswith("answer.tool_calls[0] can't train models")
    rebooted["tool_calls"] = [call("reboot>")]
    (error,) = demands(exchange(dialogue(given))).values()
    assert error.field == "messages[2].tool_calls[0]"


def test_a_tag_that_a_user_says_is_noted_and_left_out_of_a_users_stage() -> None:
    """`onBadRow: Skip` skips it: the stage ended, though the same row counted as read."""
    given = row(answer={"role": "assistant", "content": "Bye."})
    given["messages"][1]["content"] = "Say <think>."
    (note,) = Inspector().notes(given)
    assert note.startswith("messages[1].content has <think>, which no user can say")
    renderer, counts = Renderer(tokenizer.train(["user\n"] * 3, 300), Style()), TokenCounts()
    with pytest.raises(RowError, match=r"dialogue .*messages\[1\]\.content: has <think>"):
        list(sequences.encode([dialogue(given)], renderer, 999, counts, side=exchange))
    some = sequences.encode(
        [dialogue(given), dialogue(row())], renderer, 999, counts, side=exchange, skip_bad=True
    )
    assert len(list(some)) == len(counts.unreadable) == 1


@pytest.mark.parametrize("tag", ["<|im_end|>", "<|endoftext|>", "</tool_call>"])
def test_a_call_that_spells_the_end_of_a_call_is_refused(tag: str) -> None:
    """In any format it would be read as two things; no template escapes it."""
    with pytest.raises(RowError, match=r"tool_calls\[0\]: has .* ends a call in any format"):
        dialogue(row(calls=[call("find_user", name=f"a{tag}b")]))


@pytest.mark.parametrize("tag", ["</parameter>", "<parameter=x>", "</function>", "<function=f>"])
def test_a_call_that_spells_xml_is_noted_and_refused_for_a_model_that_writes_xml(tag: str) -> None:
    """It was trained, and the product's own reader refused what the model had learned."""
    given = row(calls=[call("find_user", name=f"a{tag}b", zip="1")])
    (note,) = Inspector().notes(given)
    assert f"it has {tag.partition('=')[0]}" in note
    assert "messages[2].tool_calls[0] can't train models that write calls as XML" in note
    found = dialogue(given)
    made = tokenizer.train(["user\n"] * 3, 300)
    json_style, xml_style = Style(), Style(CallFormat.QWEN3_XML)
    assert list(sequences.encode([found], Renderer(made, json_style), 9999, TokenCounts()))
    counts = TokenCounts()
    with pytest.raises(RowError, match="could not be read back"):
        list(sequences.encode([found], Renderer(made, xml_style), 9999, counts))
    xml = Renderer(made, xml_style)
    with pytest.raises(RowError, match=r"^messages\[2\]\.tool_calls\[0\]: has .*in XML"):
        Inspector(model=xml).notes(given)
    assert Inspector(model=Renderer(made, json_style)).notes(given) == []
    assert not list(sequences.encode([found], xml, 9999, counts, skip_bad=True))
    assert counts.as_metrics()["data_dialogues_unreadable"] == 1
