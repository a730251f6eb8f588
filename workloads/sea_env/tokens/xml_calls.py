"""Reads Qwen3-Coder's form: `<function=name><parameter=key>value</parameter>...</function>`.

A value is bare text; its type comes from the tool's JSON schema. What doesn't fit its type stays
text, so that the tool itself tells the agent which argument is wrong.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sea_env.tokens import plain_json
from sea_env.tokens.malformed import MalformedError, excerpt
from sea_env.tokens.messages import ToolCall

Parameters = Mapping[str, Mapping[str, Any]]
"""JSON schema of the arguments, by tool name."""

_FUNCTION, _FUNCTION_END = "<function=", "</function>"
_PARAMETER, _PARAMETER_END = "<parameter=", "</parameter>"
_WORDS = {"True": "true", "False": "false", "None": "null"}


def read(inside: str, parameters: Parameters) -> ToolCall:
    """One call; raises MalformedError with a sentence."""
    head, name, body = _opened(inside.strip(), _FUNCTION)
    body, closed, rest = body.rpartition(_FUNCTION_END)
    if head or rest or not closed:
        raise MalformedError(
            f"The tool call {excerpt(inside)} isn't one <function=name>...</function>."
        )
    properties = (parameters.get(name) or {}).get("properties") or {}
    arguments: dict[str, Any] = {}
    for key, text in _arguments(body, name):
        if key in arguments:
            raise MalformedError(f"The tool call {excerpt(name)} has {excerpt(key)} twice.")
        arguments[key] = _typed(text, properties.get(key) or {})
    _check(arguments, name)
    return ToolCall(name, arguments)


def _opened(text: str, tag: str) -> tuple[str, str, str]:
    """(text before, name in the tag, text after) of the first `tag`name`>`."""
    before, found, after = text.partition(tag)
    name, closed, after = after.partition(">")
    if not found or not closed or not name.strip():
        raise MalformedError(f"The tool call {excerpt(text)} lacks {tag}name>.")
    return before.strip(), name.strip(), after


def _arguments(body: str, name: str) -> Iterator[tuple[str, str]]:
    while body.strip():
        head, key, body = _opened(body, _PARAMETER)
        text, closed, body = body.partition(_PARAMETER_END)
        if head or not closed:
            raise MalformedError(
                f"The tool call {excerpt(name)} has {excerpt(head or text)} where "
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
    """All JSON types that a schema lets through; empty where it doesn't say."""
    kinds = schema.get("type") or ()
    found = {kinds} if isinstance(kinds, str) else set(kinds)
    for choice in schema.get("anyOf") or ():
        found |= _kinds(choice)
    return found


def _check(arguments: Mapping[str, Any], name: str) -> None:
    try:
        plain_json.check({"name": name, "arguments": arguments})
    except ValueError as error:
        raise MalformedError(f"The tool call {excerpt(name)} can't be read: {error}.") from error
