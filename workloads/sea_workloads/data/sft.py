"""Dialogue rows -> whole dialogues: filtered, deduplicated, and with roles exchanged for UserSft.

A published row is one assistant turn with everything before it, so the row with the largest
`turn_index` of a dialogue, with its answer, is the whole of it. Failed dialogues are left out.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sea_workloads.data import lines
from sea_workloads.data.errors import RowError
from sea_workloads.data.lines import want
from sea_workloads.tokens.messages import Message, calls_of
from sea_workloads.users.base import Signal
from sea_workloads.users.prompt import system_prompt

_TRANSFERRED = "TRANSFERRED TO A HUMAN"
_ROLES = frozenset({"system", "user", "assistant", "tool"})


@dataclass(frozen=True)
class Dialogue:
    """One dialogue; `messages` begin with the system prompt and end with the assistant."""

    id: str
    messages: tuple[Message, ...]
    scenario: Mapping[str, Any]
    turn_index: int = 0


@dataclass
class Report:
    """What became of the rows."""

    rows: int = 0
    failed: int = 0
    """Rows of dialogues that did not reach their goal."""
    prefixes: int = 0
    """Rows that a longer row of the same dialogue contains."""
    bad: list[RowError] = field(default_factory=list)


@dataclass(frozen=True)
class Loaded:
    dialogues: list[Dialogue]
    report: Report


def load(files: Iterable[tuple[str, Iterable[bytes]]], *, skip_bad: bool = False) -> Loaded:
    """Reads (name, lines) pairs in order.

    Raises the first RowError unless `skip_bad`; then they are in the report.
    """
    report = Report()
    longest: dict[tuple[str, str], Dialogue] = {}
    for name, data in files:
        for number, row in lines.objects(data, name):
            try:
                if isinstance(row, RowError):
                    raise row
                _add(row, name, number, longest, report)
            except RowError as error:
                placed = error if error.file else error.at(name, number)
                if not skip_bad:
                    raise placed from error
                report.bad.append(placed)
    return Loaded(list(longest.values()), report)


def _add(
    row: dict[str, Any],
    file: str,
    number: int,
    longest: dict[tuple[str, str], Dialogue],
    report: Report,
) -> None:
    found = dialogue(row, default_id=f"line {number}")
    report.rows += 1
    if not succeeded(row):
        report.failed += 1
        return
    key = (file, found.id)
    known = longest.get(key)
    if known is not None:
        report.prefixes += 1
    if known is None or found.turn_index >= known.turn_index:
        longest[key] = found


def succeeded(row: Mapping[str, Any]) -> bool:
    """Whether the row's dialogue reached its goal; rows that don't say so count as good."""
    metadata = row.get("metadata") or {}
    return all(metadata.get(name, 1) in (1, 1.0, True, None) for name in ("correct", "reward"))


def dialogue(row: Mapping[str, Any], default_id: str = "") -> Dialogue:
    """One row as a dialogue, its answer appended; raises RowError naming the field."""
    metadata = want(row, "metadata", dict)
    messages = [
        _message(message, f"messages[{index}]")
        for index, message in enumerate(want(row, "messages", list))
    ]
    if not messages:
        raise RowError("messages", "must hold at least one message")
    messages.append(_message({"role": "assistant", **want(row, "answer", dict)}, "answer"))
    turn = metadata.get("turn_index", 0)
    if not isinstance(turn, int):
        raise RowError("metadata.turn_index", "must be an integer")
    scenario = want(metadata, "user_scenario", dict, "metadata.")
    if not scenario and metadata.get("reason_for_call"):
        scenario = {"instructions": {"reason_for_call": metadata["reason_for_call"]}}
    identity = metadata.get("source_dialog_id")
    return Dialogue(
        str(default_id if identity is None else identity), tuple(messages), scenario, turn
    )


def _message(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("role") not in _ROLES:
        raise RowError(field, f"must be an object with a role of {', '.join(sorted(_ROLES))}")
    content = value.get("content")
    if content is not None and not isinstance(content, str):
        raise RowError(f"{field}.content", "must be text")
    message: dict[str, Any] = {"role": value["role"], "content": content or ""}
    calls = want(value, "tool_calls", list, f"{field}.")
    if calls:
        message["tool_calls"] = [_call(c, f"{field}.tool_calls[{i}]") for i, c in enumerate(calls)]
    elif value["role"] == "assistant" and not content:
        raise RowError(field, "has neither text nor tool calls")
    return message


def _call(value: Any, field: str) -> dict[str, Any]:
    inner = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise RowError(field, "must be an object with a name")
    arguments = inner.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError as error:
            raise RowError(f"{field}.arguments", f"isn't valid JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise RowError(f"{field}.arguments", "must be an object")
    return {"name": inner["name"], "arguments": arguments}


def exchange(given: Dialogue) -> Dialogue:
    """The same dialogue from the user's side, for UserSft.

    The system prompt is the user model's, the user's turns become the assistant's and the agent's
    texts the user's; calls, what is written beside them and their results are what a user never
    sees (`users.base.spoken`). The user's closing signal is put back where the rows leave it out.
    """
    turns: list[Message] = [{"role": "system", "content": system_prompt(given.scenario)}]
    for message in given.messages:
        if message["role"] == "user":
            turns.append({"role": "assistant", "content": message["content"]})
        elif message["role"] == "assistant" and message["content"] and not calls_of(message):
            turns.append({"role": "user", "content": message["content"]})
    if turns[-1]["role"] == "user":
        turns.append({"role": "assistant", "content": _closing(str(turns[-1]["content"]))})
    return replace(given, messages=tuple(turns))


def _closing(last: str) -> str:
    """The signal that answers an agent's last text; the policies fix a transfer's words."""
    return str(Signal.TRANSFER if _TRANSFERRED in last.upper() else Signal.STOP)


def has_user_calls(given: Dialogue) -> bool:
    """Whether the user makes tool calls (telecom)."""
    return any(m["role"] == "user" and calls_of(m) for m in given.messages)
