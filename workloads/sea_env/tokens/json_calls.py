"""Reads the JSON between `<tool_call>` tags, strictly (Hermes) or as Qwen2.5 writes it."""

from collections.abc import Mapping
from typing import Any

from sea_env.tokens import plain_json
from sea_env.tokens.malformed import MalformedError, excerpt
from sea_env.tokens.messages import ToolCall


def hermes(inside: str) -> ToolCall:
    """`{"name": ..., "arguments": {...}}`; raises MalformedError with a sentence."""
    value = _object(inside)
    return _call(inside, value, value.get("arguments", {}), {"name", "arguments"})


def qwen25(inside: str) -> ToolCall:
    """As `hermes`; `parameters` may stand for `arguments`, and a string may hold the object."""
    value = _object(inside)
    if "arguments" in value and "parameters" in value:
        raise MalformedError(
            f"The tool call {excerpt(inside)} has both arguments and parameters: give one."
        )
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = plain_json.loads(arguments)
        except ValueError as error:
            raise MalformedError(
                f"The arguments of the tool call {excerpt(inside)} are a string that isn't valid "
                f"JSON: {error}."
            ) from error
    return _call(inside, value, arguments, {"name", "arguments", "parameters"})


def _object(inside: str) -> Mapping[str, Any]:
    try:
        value: Any = plain_json.loads(inside)
    except ValueError as error:
        raise MalformedError(
            f"The tool call {excerpt(inside)} isn't valid JSON: {error}."
        ) from error
    if not isinstance(value, dict):
        raise MalformedError(f"The tool call {excerpt(inside)} isn't a JSON object.")
    return value


def _call(inside: str, value: Mapping[str, Any], arguments: Any, known: set[str]) -> ToolCall:
    name = value.get("name")
    if not isinstance(name, str) or not name:
        raise MalformedError(f"The tool call {excerpt(inside)} has no name.")
    if not isinstance(arguments, dict):
        raise MalformedError(
            f"The arguments of the tool call {excerpt(name)} aren't a JSON object."
        )
    unknown = set(value) - known
    if unknown:
        key = excerpt(min(unknown))
        raise MalformedError(f"The tool call {excerpt(name)} has the unknown key {key}.")
    return ToolCall(name, arguments)
