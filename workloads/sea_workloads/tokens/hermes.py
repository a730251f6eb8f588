"""Hermes tool calls: `text <tool_call>{"name": ..., "arguments": {...}}</tool_call>`, strict.

Whatever the model writes becomes an `AgentTurn`; nothing raises. Called by `Renderer.parse` on
the decoded generation.
"""

from typing import Any

from sea_workloads.tokens import plain_json
from sea_workloads.tokens.markup import (
    IM_END,
    SPECIAL_TOKENS,
    TOOL_CALL,
    TOOL_CALL_END,
)
from sea_workloads.tokens.messages import AgentTurn, ToolCall

_STRAY = tuple(tag for tag in SPECIAL_TOKENS if tag not in {IM_END, TOOL_CALL, TOOL_CALL_END})
_SHOWN = 80
THINK_END = "</think>"


class _MalformedError(ValueError):
    """Carries the sentence that goes into `AgentTurn.error`."""


def parse(text: str) -> AgentTurn:
    """Reads one generation. Text after `<|im_end|>` is ignored; without it it is incomplete."""
    body, end, _ = text.partition(IM_END)
    complete = bool(end)
    thinking, closed, rest = body.rpartition(THINK_END)
    if not closed:
        thinking, rest = "", body
    thinking = thinking.replace("<think>", "").strip()
    try:
        spoken, calls = _split(rest)
        _check(spoken, calls, complete)
    except _MalformedError as error:
        return AgentTurn(rest.strip(), (), complete, str(error), thinking)
    return AgentTurn(spoken, tuple(calls), complete, "", thinking)


def _check(spoken: str, calls: list[ToolCall], complete: bool) -> None:
    if not complete:
        raise _MalformedError("The turn reached its token limit before it ended.")
    for tag in _STRAY:
        if tag in spoken:
            raise _MalformedError(f"The turn contains the reserved tag {tag}.")
    if not spoken and not calls:
        raise _MalformedError("The turn is empty: it has neither text nor a tool call.")


def _split(body: str) -> tuple[str, list[ToolCall]]:
    spoken: list[str] = []
    calls: list[ToolCall] = []
    rest = body
    while rest:
        before, opened, rest = rest.partition(TOOL_CALL)
        if TOOL_CALL_END in before:
            raise _MalformedError("The turn closes a tool call that it did not open.")
        spoken.append(before)
        if not opened:
            break
        inside, closed, rest = rest.partition(TOOL_CALL_END)
        if not closed:
            raise _MalformedError("The turn opens a tool call and does not close it.")
        calls.append(_call(inside))
    return "".join(spoken).strip(), calls


def _call(inside: str) -> ToolCall:
    try:
        value: Any = plain_json.loads(inside)
    except ValueError as error:
        raise _MalformedError(
            f"The tool call {_excerpt(inside)} isn't valid JSON: {error}."
        ) from error
    if not isinstance(value, dict):
        raise _MalformedError(f"The tool call {_excerpt(inside)} isn't a JSON object.")
    name, arguments = value.get("name"), value.get("arguments", {})
    if not isinstance(name, str) or not name:
        raise _MalformedError(f"The tool call {_excerpt(inside)} has no name.")
    if not isinstance(arguments, dict):
        raise _MalformedError(f"The arguments of the tool call {name} aren't a JSON object.")
    unknown = set(value) - {"name", "arguments"}
    if unknown:
        raise _MalformedError(f"The tool call {name} has the unknown key {min(unknown)!r}.")
    return ToolCall(name, arguments)


def _excerpt(text: str) -> str:
    shown = text.strip()
    return repr(shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "...")
