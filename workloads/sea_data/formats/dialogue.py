"""One `sft` row as a dialogue: messages checked one by one, the answer appended.

`sft.py` chooses the rows, `sides.py` shows a dialogue as the agent or the user sees it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sea_data.formats import domain_name
from sea_data.formats import scenario as scenarios
from sea_data.formats.errors import RowError
from sea_data.formats.lines import want
from sea_env.tokens import plain_json
from sea_env.tokens.messages import Message

_ROLES = ("assistant", "system", "tool", "user")
_THOUGHTS = ("thinking", "reasoning", "reasoning_content")
"""Published rows call it `thinking` in answers and `reasoning` in earlier turns."""


@dataclass(frozen=True)
class Dialogue:
    """One dialogue; `messages` begin with the system prompt and end with the assistant."""

    id: str
    messages: tuple[Message, ...]
    scenario: Mapping[str, Any]
    turn_index: int = 0
    whole: bool = False
    """The row stands for all turns of its dialogue, not for its answer alone."""
    trained: frozenset[int] | None = None
    """Indices of the messages to train on, of both sides; None for all."""
    domain: str = ""
    """Empty where neither scenario nor id names one."""
    user_tools: tuple[str, ...] | None = None
    """The task's own choice of the user's tools; None for all of the domain."""


def dialogue(row: Mapping[str, Any], default_id: str = "") -> Dialogue:
    """One row as a dialogue, its answer appended; raises RowError naming the field."""
    metadata = want(row, "metadata", dict)
    messages = [
        _message(message, f"messages[{index}]")
        for index, message in enumerate(want(row, "messages", list))
    ]
    if not messages:
        raise RowError("messages", "must hold at least one message")
    answer = _message({**want(row, "answer", dict), "role": "assistant"}, "answer")
    turn = metadata.get("turn_index", 0)
    if not isinstance(turn, int):
        raise RowError("metadata.turn_index", "must be an integer")
    succeeded(row)
    identity = metadata.get("source_dialog_id")
    name = str(default_id if identity is None else identity)
    scenario = _scenario(metadata)
    return Dialogue(
        name,
        (*messages, answer),
        scenario,
        turn,
        metadata.get("whole_dialogue") is True,
        domain=str(domain_name.of_row(name, metadata, scenario)),
        user_tools=_user_tools(metadata),
    )


def _user_tools(metadata: Mapping[str, Any]) -> tuple[str, ...] | None:
    named = want(metadata, "user_tools", list, "metadata.")
    if not all(isinstance(name, str) for name in named):
        raise RowError("metadata.user_tools", "must be a list of names")
    return None if metadata.get("user_tools") is None else tuple(named)


def _scenario(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    scenario = scenarios.scenario(metadata, "metadata.")
    if not scenario and metadata.get("reason_for_call"):
        return {"instructions": {"reason_for_call": metadata["reason_for_call"]}}
    return scenario


def succeeded(row: Mapping[str, Any]) -> bool:
    """Whether the row's dialogue reached its goal; rows that don't say so count as good."""
    metadata = want(row, "metadata", dict)
    good = True
    for name in ("correct", "reward"):
        value = metadata.get(name)
        if value is not None and not isinstance(value, bool | int | float):
            raise RowError(f"metadata.{name}", "must be a number")
        good = good and value in (1, None)
    return good


def _message(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("role") not in _ROLES:
        raise RowError(field, f"must be an object with a role of {', '.join(_ROLES)}")
    content = value.get("content")
    if content is not None and not isinstance(content, str):
        raise RowError(f"{field}.content", "must be text")
    message: dict[str, Any] = {"role": value["role"], "content": content or ""}
    thought = _thought(value, field) if value["role"] == "assistant" else ""
    if thought:
        message["thinking"] = thought
    calls = want(value, "tool_calls", list, f"{field}.")
    if calls:
        message["tool_calls"] = [_call(c, f"{field}.tool_calls[{i}]") for i, c in enumerate(calls)]
    elif value["role"] == "assistant" and not content:
        raise RowError(field, "has neither text nor tool calls")
    if value["role"] == "tool" and value.get("requestor") == "user":
        message["requestor"] = "user"
    return message


def _thought(value: Mapping[str, Any], field: str) -> str:
    for name in _THOUGHTS:
        thought = value.get(name)
        if thought is not None and not isinstance(thought, str):
            raise RowError(f"{field}.{name}", "must be text")
        if thought and thought.strip():
            return thought
    return ""


def _call(value: Any, field: str) -> dict[str, Any]:
    inner = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise RowError(field, "must be an object with a name")
    try:
        arguments = plain_json.carried(inner.get("arguments") or {})
    except ValueError as error:
        raise RowError(f"{field}.arguments", f"isn't valid JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise RowError(f"{field}.arguments", "must be an object")
    return {"name": inner["name"], "arguments": arguments}
