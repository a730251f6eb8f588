"""Dialogue rows: filtered, deduplicated, whole, and from the user's side."""

import json
from typing import Any

import pytest

from sea_data.errors import RowError
from sea_data.formats import perspective, sft

CALL = {"name": "f", "arguments": {"a": 1}}
START = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "U"},
]
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "T"}


def row(
    identity: str,
    turn: int,
    text: str = "Bye.",
    before: list[dict[str, Any]] | None = None,
    thinking: str | None = "t",
    **metadata: Any,
) -> bytes:
    messages = [*START, CALLING | {"reasoning": "r"}, RESULT] if before is None else before
    value = {
        "messages": messages,
        "answer": {"role": "assistant", "content": text, "thinking": thinking, "tool_calls": None},
        "metadata": {"source_dialog_id": identity, "turn_index": turn, **metadata},
    }
    return json.dumps(value).encode()


def load(*lines: bytes, skip_bad: bool = False) -> sft.Loaded:
    return sft.load([("sft.jsonl", lines)], skip_bad=skip_bad)


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def asked(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answers(*lines: bytes) -> list[list[str]]:
    """Per chosen row, the agent's texts that are trained."""
    found = load(*lines).dialogues
    return [
        [
            m["content"]
            for i, m in enumerate(d.messages)
            if m["role"] == "assistant" and i in trained
        ]
        for d in found
        if (trained := d.trained or ()) is not None
    ]


A0 = row("a", 0, "a0", START)
A1 = row("a", 1, "a1", [*START, said("a0"), asked("u1")])
A2 = row("a", 2, "a2", [*START, said("a0"), asked("u1"), said("a1"), asked("u2")])
OTHER = row("a", 2, "b2", [*START, said("a0"), asked("u1"), said("a1"), asked("v2")])


@pytest.mark.parametrize(
    ("lines", "trained"),
    [
        ([A0, A1, A2], [["a0", "a1", "a2"]]),
        ([A2, A0, A1], [["a0", "a1", "a2"]]),
        ([A2], [["a2"]]),
        ([A0, A2], [["a0", "a2"]]),
        ([A2, A2, A2], [["a2"]]),
        ([A0, A1, A2, OTHER], [["a0", "a1", "a2"], ["b2"]]),
        ([A1, OTHER, A2], [["a1", "b2"], ["a2"]]),
        ([A0, row("a", 0, "other", START)], [["a0"], ["other"]]),
        ([A0, row("b", 0, "a0", START)], [["a0"], ["a0"]]),
        (
            [row("a", 2, "a2", json.loads(A2)["messages"], whole_dialogue=True)],
            [["a0", "a1", "a2"]],
        ),
    ],
)
def test_every_answer_is_trained_once(lines: list[bytes], trained: list[list[str]]) -> None:
    assert answers(*lines) == trained
    counts = load(*lines).counts
    assert counts.rows == counts.chosen + counts.prefixes == len(lines)


def test_branches_share_the_users_turns_too() -> None:
    first, second = load(A2, OTHER).dialogues
    texts = [
        [m["content"] for i, m in enumerate(d.messages) if i in d.trained and m["role"] == "user"]
        for d in (first, second)
        if d.trained is not None
    ]
    assert texts == [["U", "u1", "u2"], ["v2"]]


def test_thoughts_of_earlier_turns_come_from_their_own_rows() -> None:
    first = row("a", 0, "a0", START, thinking="first")
    second = row("a", 1, "a1", [*START, said("a0"), asked("u1")], thinking="second")
    (found,) = load(first, second).dialogues
    assert [m.get("thinking") for m in found.messages] == [None, None, "first", None, "second"]
    kept = row("a", 1, "a1", [*START, said("a0") | {"reasoning": "own"}, asked("u1")])
    assert load(first, kept).dialogues[0].messages[2]["thinking"] == "own"


def test_calls_and_thoughts_of_a_row() -> None:
    (found,) = load(row("a", 1)).dialogues
    assert found.messages[2]["tool_calls"] == [CALL]
    assert (found.messages[2]["thinking"], found.messages[4]["thinking"]) == ("r", "t")


def test_the_same_id_in_another_file_is_another_dialogue() -> None:
    loaded = sft.load([("x", [row("a", 1)]), ("y", [row("a", 1)])])
    assert len(loaded.dialogues) == 2


@pytest.mark.parametrize("metadata", [{"correct": 0}, {"reward": 0.0}, {"reward": 0.5}])
def test_failed_dialogues_are_left_out_and_counted(metadata: dict[str, Any]) -> None:
    loaded = load(row("a", 1, **metadata), row("b", 1, correct=1, reward=1.0))
    assert [d.id for d in loaded.dialogues] == ["b"]
    assert loaded.counts.failed == 1


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
        (broken(metadata={"reward": "1"}), "metadata.reward"),
        (broken(metadata={"correct": []}), "metadata.correct"),
        (broken(metadata=[]), "metadata"),
        (broken(answer={"content": "x", "thinking": 3}), "answer.thinking"),
        (broken(answer={"role": "user"}), "answer"),
        (broken(answer={"tool_calls": {}}), "answer.tool_calls"),
        (
            broken(answer={"tool_calls": [{"name": "f", "arguments": "[" * 99999}]}),
            "answer.tool_calls[0].arguments",
        ),
        (
            broken(answer={"tool_calls": [{"name": "f", "arguments": '{"a": "\\ud800"}'}]}),
            "answer.tool_calls[0].arguments",
        ),
        (
            broken(answer={"tool_calls": [{"name": "f", "arguments": '{"a": NaN}'}]}),
            "answer.tool_calls[0].arguments",
        ),
    ],
)
def test_broken_rows_are_reported_or_fatal(line: bytes, field: str) -> None:
    with pytest.raises(RowError) as caught:
        load(row("a", 1), line)
    assert (caught.value.file, caught.value.line, caught.value.field) == ("sft.jsonl", 2, field)
    loaded = load(row("a", 1), line, skip_bad=True)
    assert [error.line for error in loaded.counts.bad] == [2]
    assert len(loaded.dialogues) == 1


def test_openai_style_calls_are_read_too() -> None:
    nested = {"function": {"name": "f", "arguments": '{"a": 1}'}}
    loaded = load(broken(answer={"tool_calls": [nested]}))
    assert loaded.dialogues[0].messages[-1]["tool_calls"] == [CALL]


def test_roles_are_exchanged_for_the_user_model() -> None:
    scenario = {"instructions": {"domain": "shop", "reason_for_call": "R"}}
    exchanged = perspective.exchange(load(row("a", 1, user_scenario=scenario)).dialogues[0])
    assert exchanged.messages == (
        {"role": "system", "content": "R"},
        {"role": "assistant", "content": "U"},
        {"role": "user", "content": "Bye."},
        {"role": "assistant", "content": "###STOP###"},
    )


def test_neither_side_sees_the_other_ones_calls() -> None:
    """Telecom: the user has a phone of its own."""
    user_call = {"role": "user", "content": "", "tool_calls": [CALL]}
    both = {"role": "user", "content": "It says 5G.", "tool_calls": [CALL]}
    result = RESULT | {"content": "P"}
    unseen = {"role": "tool", "content": "Q", "requestor": "user"}
    before: list[dict[str, Any]]
    before = [*START, CALLING, RESULT, user_call, result, both, unseen]
    (found,) = load(row("a", 1, before=before)).dialogues
    agent = perspective.agent_side(found)
    assert [(m["role"], m["content"]) for m in agent.messages] == [
        ("system", "S"), ("user", "U"), ("assistant", ""), ("tool", "T"),
        ("user", "It says 5G."), ("assistant", "Bye."),
    ]  # fmt: skip
    assert not perspective.has_user_calls(agent)
    assert agent.trained is not None
    assert len(agent.messages) - 1 in agent.trained
    user = perspective.exchange(found)
    assert [(m["role"], m["content"], bool(m.get("tool_calls"))) for m in user.messages[1:]] == [
        ("assistant", "U", False), ("assistant", "", True), ("tool", "P", False),
        ("assistant", "It says 5G.", True), ("tool", "Q", False), ("user", "Bye.", False),
        ("assistant", "###STOP###", False),
    ]  # fmt: skip
    assert user.trained is not None
    assert len(user.messages) - 1 in user.trained


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("Bye.", "###STOP###"),
        ("YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON.", "###TRANSFER###"),
    ],
)
def test_the_users_last_word_answers_the_agents(text: str, signal: str) -> None:
    exchanged = perspective.exchange(load(row("a", 1, text)).dialogues[0])
    assert exchanged.messages[-1] == {"role": "assistant", "content": signal}
