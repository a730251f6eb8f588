"""Tool calls <-> the text between `<tool_call>` and `</tool_call>`, in each family's format.

`markup` writes calls with `write_call`; `reader` reads what a model wrote, strictly: JSON as Hermes
has it, JSON as Qwen2.5 has it, or Qwen3-Coder's XML. What these formats leave open is never
guessed: two parameters are not merged into one because a tag between them is missing.
"""

import ast
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from sea_env.tokens import arguments as call_arguments
from sea_env.tokens import plain_json
from sea_env.tokens.arguments import ArgumentsError
from sea_env.tokens.messages import ToolCall
from sea_env.tokens.style import CallFormat, Style, XmlValues

Parameters = Mapping[str, Mapping[str, Any]]
"""JSON schema of the arguments, by tool name."""

_MAX_EXCERPT = 80
_MAX_PYTHON = 65536
"""Characters of a value that Python's own parser may read."""
_FUNCTION, _FUNCTION_END = "<function=", "</function>"
_PARAMETER, _PARAMETER_END = "<parameter=", "</parameter>"
XML_TAGS = (_FUNCTION, _FUNCTION_END, _PARAMETER, _PARAMETER_END)
"""What stands in a call only; elsewhere it is a call that lost its `<tool_call>`."""


class MalformedError(ValueError):
    """What is wrong with a call; never leaves the package: it becomes `AgentTurn.error`."""


def write_call(name: str, arguments: Mapping[str, Any], style: Style) -> str:
    """The canonical text of a call; reading it gives the call back."""
    if style.brief:
        return call_json(name, arguments)
    if style.calls is CallFormat.QWEN3_XML:
        return f"\n{_xml(name, arguments, style.values)}\n"
    call = {"name": name, "arguments": dict(arguments)}
    return f"\n{json.dumps(call, ensure_ascii=False)}\n"


def call_json(name: str, arguments: Mapping[str, Any]) -> str:
    """Compact JSON, keys in the order given: the tiny model's format."""
    call = {"name": name, "arguments": dict(arguments)}
    return json.dumps(call, ensure_ascii=False, separators=(",", ":"))


def _xml(name: str, arguments: Mapping[str, Any], values: XmlValues) -> str:
    lines = [f"<function={name}>"]
    for key, value in arguments.items():
        lines += [f"<parameter={key}>", _xml_value(value, values), "</parameter>"]
    return "\n".join([*lines, "</function>"])


def _xml_value(value: Any, values: XmlValues) -> str:
    """As the families' templates write it: `tojson` or Jinja's `string`, which is Python's str."""
    if isinstance(value, str):
        return value
    as_json: tuple[type, ...] = (object,)
    if values is not XmlValues.JSON:
        as_json = (dict, list) if values is XmlValues.CONTAINERS else (dict,)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, as_json) else str(value)


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
    given = value.get("arguments")
    # A text that spells null is no arguments, any other text isn't what Hermes has.
    if isinstance(given, str) and given.strip() not in ("", "null"):
        given = [given]
    return _call(inside, value, given, {"name", "arguments"})


def _read_qwen25(inside: str) -> ToolCall:
    """As Hermes; `parameters` may replace `arguments`, and a string may hold the object."""
    value = _object(inside)
    if "arguments" in value and "parameters" in value:
        raise MalformedError(
            f"The tool call {_excerpt(inside)} has both arguments and parameters: give one."
        )
    arguments = value.get("arguments", value.get("parameters"))
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
    try:
        found = call_arguments.read(arguments)
    except ArgumentsError as error:
        raise MalformedError(f"The arguments of the tool call {_excerpt(name)} {error}.") from error
    unknown = set(value) - known
    if unknown:
        key = _excerpt(min(unknown))
        raise MalformedError(f"The tool call {_excerpt(name)} has the unknown key {key}.")
    return ToolCall(name, found)


def _read_xml(inside: str, parameters: Parameters) -> ToolCall:
    """`<function=name><parameter=key>value</parameter>...</function>`.

    A value is bare text; its type comes from the tool's JSON schema. A value that doesn't fit its
    type stays text, so that the tool itself reports which argument is wrong.
    """
    head, name, body = _opened(inside.strip(), _FUNCTION)
    body, closed, rest = body.rpartition(_FUNCTION_END)
    if head or rest or not closed or _FUNCTION in body or _FUNCTION_END in body:
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


def is_xml_name(name: str) -> bool:
    """True if `<function=name>` and `<parameter=name>` are read back as this name."""
    # A name with white space around it is another name to vLLM.
    return bool(name) and name == name.strip() and ">" not in name


def _opened(text: str, tag: str) -> tuple[str, str, str]:
    """(text before, name in the tag, text after) of the first `tag`name`>`."""
    before, found, after = text.partition(tag)
    name, closed, after = after.partition(">")
    if not found or not closed or not is_xml_name(name):
        raise MalformedError(f"The tool call {_excerpt(text)} lacks {tag}name>.")
    return before.strip(), name, after


def _xml_arguments(body: str, name: str) -> Iterator[tuple[str, str]]:
    while body.strip():
        head, key, body = _opened(body, _PARAMETER)
        text, closed, body = body.partition(_PARAMETER_END)
        # A missing end tag would make one argument of two.
        if head or not closed or _PARAMETER in text:
            raise MalformedError(
                f"The tool call {_excerpt(name)} has {_excerpt(head or text)} where "
                "<parameter=name>value</parameter> is expected."
            )
        yield key, text.removeprefix("\n").removesuffix("\n")


def _typed(text: str, schema: Mapping[str, Any]) -> Any:
    """The value of a parameter: of the first type that the schema allows and the text has.

    In the order of vLLM's parsers: `12` is a number wherever a number is allowed.
    """
    kinds = call_arguments.kinds(schema, unnamed=("string",))
    if not kinds:
        return text
    for kind, read in _READERS.items():
        if kind in kinds:
            with suppress(ValueError):
                return read(text)
    try:
        return _value(text.strip())
    except ValueError:
        return text


def _null(text: str) -> None:
    if text.strip().lower() != "null" and text.strip() != "None":
        raise ValueError("no null")


def _integer(text: str) -> int:
    value = int(text)
    plain_json.check(value)  # of 64 bits
    return value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("no JSON number")
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word not in _BOOLEANS:
        raise ValueError("no boolean")
    return _BOOLEANS[word]


def _value(text: str) -> Any:
    """JSON, or a Python literal: Qwen3-Coder's template writes lists as Python does."""
    try:
        return plain_json.loads(text)
    except ValueError:
        if not text.startswith(("[", "{")) or len(text) > _MAX_PYTHON:
            raise
    try:
        value = ast.literal_eval(text)
        # What isn't JSON (tuples, sets, bytes) fails here.
        return plain_json.loads(json.dumps(value))
    except (SyntaxError, TypeError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError("it is neither JSON nor a Python literal") from error


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_EXACT = 2**53
"""Up to here every whole float is one integer."""
_READERS: Mapping[str, Callable[[str], Any]] = {
    "null": _null,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "object": lambda text: _value(text.strip()),
    "array": lambda text: _value(text.strip()),
    "string": lambda text: text,
}
"""By JSON type, in the order in which they are tried; each raises ValueError."""


def _excerpt(text: str) -> str:
    """The beginning of a text, quoted: it must be clear which call is meant."""
    shown = text.strip()
    return repr(shown if len(shown) <= _MAX_EXCERPT else shown[:_MAX_EXCERPT] + "...")
