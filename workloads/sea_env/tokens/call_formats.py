"""Tool calls <-> the text between `<tool_call>` and `</tool_call>`, in each family's format.

`markup` writes calls with `write_call`; `reader` reads what a model wrote, strictly: JSON as Hermes
has it, JSON as Qwen2.5 has it, or Qwen3-Coder's XML.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sea_env.tokens import plain_json
from sea_env.tokens.messages import ToolCall
from sea_env.tokens.style import CallFormat, Style

Parameters = Mapping[str, Mapping[str, Any]]
"""JSON schema of the arguments, by tool name."""

_MAX_EXCERPT = 80
_FUNCTION, _FUNCTION_END = "<function=", "</function>"
_PARAMETER, _PARAMETER_END = "<parameter=", "</parameter>"
_WORDS = {"True": "true", "False": "false", "None": "null"}


class MalformedError(ValueError):
    """What is wrong with a call; never leaves the package: it becomes `AgentTurn.error`."""


def write_call(name: str, arguments: Mapping[str, Any], style: Style) -> str:
    """The canonical text of a call; reading it gives the call back."""
    if style.brief:
        return call_json(name, arguments)
    if style.calls is CallFormat.QWEN3_XML:
        return f"\n{_xml(name, arguments)}\n"
    call = {"name": name, "arguments": dict(arguments)}
    return f"\n{json.dumps(call, ensure_ascii=False)}\n"


def call_json(name: str, arguments: Mapping[str, Any]) -> str:
    """Compact JSON, keys in the order given: the tiny model's format."""
    call = {"name": name, "arguments": dict(arguments)}
    return json.dumps(call, ensure_ascii=False, separators=(",", ":"))


def _xml(name: str, arguments: Mapping[str, Any]) -> str:
    lines = [f"<function={name}>"]
    for key, value in arguments.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines += [f"<parameter={key}>", text, "</parameter>"]
    return "\n".join([*lines, "</function>"])


def read_call(inside: str, style: Style, parameters: Parameters) -> ToolCall:
    """One call in the style's format; `parameters` type XML arguments. Raises MalformedError."""
    if style.calls is CallFormat.QWEN3_XML:
        return _read_xml(inside, parameters)
    if style.calls is CallFormat.QWEN25:
        return _read_qwen25(inside)
    return _read_hermes(inside)


def _read_hermes(inside: str) -> ToolCall:
    """`{"name": ..., "arguments": {...}}`."""
    value = _object(inside)
    return _call(inside, value, value.get("arguments", {}), {"name", "arguments"})


def _read_qwen25(inside: str) -> ToolCall:
    """As Hermes; `parameters` may replace `arguments`, and a string may hold the object."""
    value = _object(inside)
    if "arguments" in value and "parameters" in value:
        raise MalformedError(
            f"The tool call {_excerpt(inside)} has both arguments and parameters: give one."
        )
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = plain_json.loads(arguments)
        except ValueError as error:
            raise MalformedError(
                f"The arguments of the tool call {_excerpt(inside)} are a string that isn't valid "
                f"JSON: {error}."
            ) from error
    return _call(inside, value, arguments, {"name", "arguments", "parameters"})


def _object(inside: str) -> Mapping[str, Any]:
    try:
        value: Any = plain_json.loads(inside)
    except ValueError as error:
        raise MalformedError(
            f"The tool call {_excerpt(inside)} isn't valid JSON: {error}."
        ) from error
    if not isinstance(value, dict):
        raise MalformedError(f"The tool call {_excerpt(inside)} isn't a JSON object.")
    return value


def _call(inside: str, value: Mapping[str, Any], arguments: Any, known: set[str]) -> ToolCall:
    name = value.get("name")
    if not isinstance(name, str) or not name:
        raise MalformedError(f"The tool call {_excerpt(inside)} has no name.")
    if not isinstance(arguments, dict):
        raise MalformedError(
            f"The arguments of the tool call {_excerpt(name)} aren't a JSON object."
        )
    unknown = set(value) - known
    if unknown:
        key = _excerpt(min(unknown))
        raise MalformedError(f"The tool call {_excerpt(name)} has the unknown key {key}.")
    return ToolCall(name, arguments)


def _read_xml(inside: str, parameters: Parameters) -> ToolCall:
    """`<function=name><parameter=key>value</parameter>...</function>`.

    A value is bare text; its type comes from the tool's JSON schema. A value that doesn't fit its
    type stays text, so that the tool itself reports which argument is wrong.
    """
    head, name, body = _opened(inside.strip(), _FUNCTION)
    body, closed, rest = body.rpartition(_FUNCTION_END)
    if head or rest or not closed:
        raise MalformedError(
            f"The tool call {_excerpt(inside)} isn't one <function=name>...</function>."
        )
    properties = (parameters.get(name) or {}).get("properties") or {}
    arguments: dict[str, Any] = {}
    for key, text in _xml_arguments(body, name):
        if key in arguments:
            raise MalformedError(f"The tool call {_excerpt(name)} has {_excerpt(key)} twice.")
        arguments[key] = _typed(text, properties.get(key) or {})
    try:
        plain_json.check({"name": name, "arguments": arguments})
    except ValueError as error:
        raise MalformedError(f"The tool call {_excerpt(name)} can't be read: {error}.") from error
    return ToolCall(name, arguments)


def _opened(text: str, tag: str) -> tuple[str, str, str]:
    """(text before, name in the tag, text after) of the first `tag`name`>`."""
    before, found, after = text.partition(tag)
    name, closed, after = after.partition(">")
    if not found or not closed or not name.strip():
        raise MalformedError(f"The tool call {_excerpt(text)} lacks {tag}name>.")
    return before.strip(), name.strip(), after


def _xml_arguments(body: str, name: str) -> Iterator[tuple[str, str]]:
    while body.strip():
        head, key, body = _opened(body, _PARAMETER)
        text, closed, body = body.partition(_PARAMETER_END)
        if head or not closed:
            raise MalformedError(
                f"The tool call {_excerpt(name)} has {_excerpt(head or text)} where "
                "<parameter=name>value</parameter> is expected."
            )
        yield key, text.removeprefix("\n").removesuffix("\n")


def _typed(text: str, schema: Mapping[str, Any]) -> Any:
    kinds = _kinds(schema)
    if not kinds or ("string" in kinds and text.strip() not in {"null", "None"}):
        return text
    try:
        value = plain_json.loads(_WORDS.get(text.strip(), text))
    except ValueError:
        return text
    return value if not ("string" in kinds and value is None and "null" not in kinds) else text


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    """All JSON types that a schema allows; empty if it doesn't say."""
    kinds = schema.get("type") or ()
    found = {kinds} if isinstance(kinds, str) else set(kinds)
    for choice in schema.get("anyOf") or ():
        found |= _kinds(choice)
    return found


def _excerpt(text: str) -> str:
    """The beginning of a text, quoted: it must be clear which call is meant."""
    shown = text.strip()
    return repr(shown if len(shown) <= _MAX_EXCERPT else shown[:_MAX_EXCERPT] + "...")
