"""Dialogue rows: filtered, deduplicated, whole, and from the user's side."""

import json
from typing import Any

import pytest

from sea_workloads.data import sft
from sea_workloads.data.errors import RowError

CALL = {"name": "f", "arguments": {"a": 1}}


def row(identity: str, turn: int, text: str = "Bye.", **metadata: Any) -> bytes:
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U"},
        {"role": "assistant", "content": None, "reasoning": "r", "tool_calls": [CALL]},
        {"role": "tool", "content": "T"},
    ]
    value = {
        "messages": messages,
        "answer": {"role": "assistant", "content": text, "thinking": "t", "tool_calls": None},
        "metadata": {"source_dialog_id": identity, "turn_index": turn, **metadata},
    }
    return json.dumps(value).encode()


def load(*lines: bytes, skip_bad: bool = False) -> sft.Loaded:
    return sft.load([("sft.jsonl", lines)], skip_bad=skip_bad)


def test_the_longest_row_of_a_dialogue_is_the_dialogue() -> None:
    loaded = load(row("a", 1, "one"), row("a", 3, "three"), row("a", 2, "two"), row("b", 0))
    assert [d.messages[-1]["content"] for d in loaded.dialogues] == ["three", "Bye."]
    assert (loaded.report.rows, loaded.report.prefixes) == (4, 2)
    assert loaded.dialogues[0].messages[2]["tool_calls"] == [CALL]


def test_the_same_id_in_another_file_is_another_dialogue() -> None:
    loaded = sft.load([("x", [row("a", 1)]), ("y", [row("a", 1)])])
    assert len(loaded.dialogues) == 2


@pytest.mark.parametrize("metadata", [{"correct": 0}, {"reward": 0.0}, {"reward": 0.5}])
def test_failed_dialogues_are_left_out_and_counted(metadata: dict[str, Any]) -> None:
    loaded = load(row("a", 1, **metadata), row("b", 1, correct=1, reward=1.0))
    assert [d.id for d in loaded.dialogues] == ["b"]
    assert loaded.report.failed == 1


def broken(**change: Any) -> bytes:
    return json.dumps(json.loads(row("a", 1)) | change).encode()


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"{", ""),
        (broken(messages=3), "messages"),
        (broken(messages=[]), "messages"),
        (broken(messages=["x"]), "messages[0]"),
        (broken(messages=[{"role": "robot"}]), "messages[0]"),
        (broken(messages=[{"role": "user", "content": 3}]), "messages[0].content"),
        (broken(answer={"role": "assistant"}), "answer"),
        (broken(answer={"tool_calls": [{}]}), "answer.tool_calls[0]"),
        (
            broken(answer={"tool_calls": [{"name": "f", "arguments": "{"}]}),
            "answer.tool_calls[0].arguments",
        ),
        (broken(metadata={"turn_index": "x"}), "metadata.turn_index"),
    ],
)
def test_broken_rows_are_reported_or_fatal(line: bytes, field: str) -> None:
    with pytest.raises(RowError) as caught:
        load(row("a", 1), line)
    assert (caught.value.file, caught.value.line, caught.value.field) == ("sft.jsonl", 2, field)
    loaded = load(row("a", 1), line, skip_bad=True)
    assert [error.line for error in loaded.report.bad] == [2]
    assert len(loaded.dialogues) == 1


def test_openai_style_calls_are_read_too() -> None:
    nested = {"function": {"name": "f", "arguments": '{"a": 1}'}}
    loaded = load(broken(answer={"tool_calls": [nested]}))
    assert loaded.dialogues[0].messages[-1]["tool_calls"] == [CALL]


def test_roles_are_exchanged_for_the_user_model() -> None:
    scenario = {"instructions": {"domain": "shop", "reason_for_call": "R"}}
    exchanged = sft.exchange(load(row("a", 1, user_scenario=scenario)).dialogues[0])
    assert exchanged.messages == (
        {"role": "system", "content": "R"},
        {"role": "assistant", "content": "U"},
        {"role": "user", "content": "Bye."},
        {"role": "assistant", "content": "###STOP###"},
    )
