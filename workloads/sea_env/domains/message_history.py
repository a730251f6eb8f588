"""The `message_history` of an initial state: tau2-bench's messages -> an episode's. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sea_env.errors import EnvError

_ROLES = ("user", "assistant", "tool")


class HistoryError(EnvError):
    """A dialogue that no episode can have produced: which message, and what is wrong with it."""


@dataclass(frozen=True)
class Call:
    """One call of a dialogue's agent or user."""

    requestor: str
    name: str
    arguments: Mapping[str, Any]


def plain(found: Sequence[Any]) -> list[dict[str, Any]]:
    """tau2-bench's messages as an episode writes them, without the system messages (the policy).

    Results get the requestor of the call that they answer. Raises HistoryError.
    """
    messages: list[dict[str, Any]] = []
    asked: list[str] = []
    for index, message in enumerate(found):
        place = f"message_history[{index}]"
        if not isinstance(message, Mapping) or message.get("role") not in (*_ROLES, "system"):
            raise HistoryError(f"{place} must be an object with a role of {', '.join(_ROLES)}")
        if message["role"] == "tool":
            if not asked:
                raise HistoryError(f"{place} answers no call")
            messages.append(_answer(message, asked.pop(0)))
        elif message["role"] != "system":
            if asked:
                raise HistoryError(f"{place} comes before the answer to a call")
            messages.append(_turn(message, place))
            asked = [message["role"]] * len(messages[-1].get("tool_calls", ()))
    if asked:
        raise HistoryError("message_history ends before the answer to a call")
    return messages


def calls(messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Call, str]]:
    """Every call with its answer, in order."""
    waiting: list[Call] = []
    for message in messages:
        if message["role"] == "tool":
            yield waiting.pop(0), message["content"]
        waiting += [
            Call(message["role"], call["name"], call["arguments"])
            for call in message.get("tool_calls", ())
        ]


def same(found: str, expected: str) -> bool:
    """Whether two results are equal; text that is JSON is compared by its value."""
    return found == expected or _value(found) == _value(expected)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _answer(message: Mapping[str, Any], requestor: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"role": "tool", "content": str(message.get("content") or "")}
    if requestor == "user":
        answer["requestor"] = requestor
    return answer


def _turn(message: Mapping[str, Any], place: str) -> dict[str, Any]:
    turn: dict[str, Any] = {
        "role": message["role"],
        "content": str(message.get("content") or ""),
    }
    made = message.get("tool_calls") or []
    if not isinstance(made, list):
        raise HistoryError(f"{place}.tool_calls must be a list")
    if made:
        turn["tool_calls"] = [_call(call, place) for call in made]
    elif not turn["content"]:
        raise HistoryError(f"{place} has neither text nor calls")
    return turn


def _call(call: Any, place: str) -> dict[str, Any]:
    given = call.get("function", call) if isinstance(call, Mapping) else {}
    arguments = given.get("arguments") or {}
    if not isinstance(given.get("name"), str) or not isinstance(arguments, Mapping):
        raise HistoryError(f"{place}.tool_calls must hold objects with a name and arguments")
    return {"name": given["name"], "arguments": dict(arguments)}
