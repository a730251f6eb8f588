"""Repairs one row of dialogues without guessing (`sea data fix`), and says what it did.

What could mean two things is left as it is: `inspection` then names it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from sea_data.errors import RowError
from sea_data.formats import foreign_rows
from sea_data.formats.dialogue import tools_of
from sea_env.tokens import arguments as call_arguments
from sea_env.tokens import reader, tool_prompt
from sea_env.tokens.call_formats import XML_TAGS
from sea_env.tokens.markup import IM_END, THINK, THINK_END, TOOL_CALL
from sea_env.tokens.messages import calls_of
from sea_env.tokens.style import CallFormat, Style, Thinking

Tools = Mapping[str, Mapping[str, Any]]
"""JSON schema of the arguments by tool name."""

NULLS = "null arguments removed that the tool doesn't take"
OLD_CALLS = "function_call written as tool_calls"
CALLS = "texts with <tool_call> read as calls"


def repair(row: Mapping[str, Any], tools: Tools) -> tuple[dict[str, Any], Counter[str]]:
    """(the row, how often which repair was made); the same row if nothing was wrong.

    Args:
        row: any JSON object; a row without `messages` is returned as it is.
        tools: those of the domain, for rows whose own system prompt lists none.
    """
    done: Counter[str] = Counter()
    messages, answer = row.get("messages"), row.get("answer")
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        return dict(row), done
    known = tools_of(messages) or _own_tools(row) or tools
    changed = {**row, "messages": [_message(message, known, done) for message in messages]}
    if isinstance(answer, dict):
        changed["answer"] = _message({**answer, "role": "assistant"}, known, done)
        if "role" not in answer:
            del changed["answer"]["role"]
    return changed if done else dict(row), done


def _own_tools(row: Mapping[str, Any]) -> Tools:
    try:
        return tool_prompt.parameters(foreign_rows.tools(row))
    except RowError:
        return {}  # the inspection says what is wrong with them


def _message(message: dict[str, Any], tools: Tools, done: Counter[str]) -> dict[str, Any]:
    if message.get("role") != "assistant":
        return message
    if message.get("function_call") and not message.get("tool_calls"):
        done[OLD_CALLS] += 1
        message = {**message, "tool_calls": [message["function_call"]], "function_call": None}
    if not message.get("tool_calls"):
        message = _read_calls(message, tools, done)
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [_call(call, tools, done) for call in calls]}


def _call(call: Any, tools: Tools, done: Counter[str]) -> Any:
    """The call without the arguments that HF `datasets` filled in."""
    inner = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(inner, dict):
        return call
    try:
        given = call_arguments.read(inner.get("arguments"))
    except call_arguments.ArgumentsError:
        return call
    filled = call_arguments.filled_with_null(given, tools.get(str(inner.get("name"))))
    if not filled:
        return call
    done[NULLS] += len(filled)
    kept = {name: value for name, value in given.items() if name not in filled}
    repaired = {**inner, "arguments": kept}
    return {**call, "function": repaired} if "function" in call else repaired


def _read_calls(message: dict[str, Any], tools: Tools, done: Counter[str]) -> dict[str, Any]:
    """Calls that the content spells out, read by the reader that reads the agent's turns."""
    content = message.get("content")
    if not isinstance(content, str) or TOOL_CALL not in content:
        return message
    turn = reader.parse(content.removesuffix(IM_END) + IM_END, _style(content), tools)
    if turn.error or not turn.tool_calls:
        return message
    done[CALLS] += 1
    read = turn.as_message()
    return {**message, **read, "tool_calls": list(map(dict, calls_of(read)))}


def _style(content: str) -> Style:
    half = THINK_END in content and THINK not in content
    xml = any(tag in content for tag in XML_TAGS)
    return Style(
        CallFormat.QWEN3_XML if xml else CallFormat.HERMES,
        Thinking.PROMPTED if half else Thinking.OWN,
    )


def sentences(done: Mapping[str, int]) -> Iterator[str]:
    """What was done, most frequent first."""
    for what, count in sorted(done.items(), key=lambda item: (-item[1], item[0])):
        yield f"{count} {what}"
