"""Arguments of a tool call: read from what models and servers write, compared with the schema.

Used by `call_formats` on what a model wrote, by the evaluation's agent on what a server answered,
and by `sea_data.formats` on rows of dialogues.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sea_env.tokens import plain_json

_NONE_GIVEN = ("", "null", "None")
_PYTHON: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (dict,),
    "null": (type(None),),
}


_INTEGERS = ("int", "int32", "int64", "uint", "uint32", "uint64", "long", "short", "unsigned")
_OTHER_NAMES = {
    **dict.fromkeys(("str", "text", "varchar", "char", "enum"), "string"),
    **dict.fromkeys(_INTEGERS, "integer"),
    **dict.fromkeys(("float", "float32", "float64", "double"), "number"),
    **dict.fromkeys(("list", "arr", "sequence", "tuple"), "array"),
    "bool": "boolean",
    "dict": "object",
}
"""Types as published tool lists spell them (xLAM, ToolACE: `dict`, `float`; Gemini: `STRING`, in
lower case here), which vLLM's parsers read too (vllm/tool_parsers/utils.py of 0.32)."""


class ArgumentsError(ValueError):
    """Why something isn't the arguments of a call: the end of a sentence about them."""


def read(value: Any) -> dict[str, Any]:
    """The arguments as an object; none for null, an empty text, or a text that spells null.

    Models that call a tool without parameters write all of these, and servers pass them on.

    Raises:
        ArgumentsError: it isn't JSON that could be carried on, or no object.
    """
    if value is None or (isinstance(value, str) and value.strip() in _NONE_GIVEN):
        return {}
    try:
        found = plain_json.carried(value)
    except ValueError as error:
        raise ArgumentsError(f"aren't valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise ArgumentsError("aren't a JSON object")
    return found


def kinds(schema: Mapping[str, Any], unnamed: Iterable[str] = ()) -> set[str]:
    """All JSON types that a schema allows, as vLLM's parsers read it; empty if it doesn't say.

    `unnamed`: the types of a choice in it that names none, such as a `$ref`.
    """
    given = schema.get("type") or ()
    named = {given} if isinstance(given, str) else set(given)
    spelled = {kind.strip().lower() for kind in named}
    found = {_OTHER_NAMES.get(kind, kind) for kind in spelled}
    found |= {_kind_of(value) for value in schema.get("enum") or ()}
    for choices in ("anyOf", "oneOf", "allOf"):
        for choice in schema.get(choices) or ():
            found |= kinds(choice, unnamed) or set(unnamed)
    if schema.get("nullable") is True and found:
        found.add("null")
    return found


def _kind_of(value: Any) -> str:
    return next((kind for kind, types in _PYTHON.items() if type(value) in types), "string")


def filled_with_null(
    arguments: Mapping[str, Any], parameters: Mapping[str, Any] | None
) -> list[str]:
    """Names of arguments that are null although the tool has no such argument or takes no null.

    HF `datasets` makes one type of all calls in a file: each call gets the arguments of all others,
    as null. `parameters` is the tool's JSON schema; None, if it isn't known, finds nothing.
    """
    if parameters is None:
        return []
    properties = parameters.get("properties") or {}
    required = parameters.get("required") or ()
    return [
        name
        for name, value in arguments.items()
        if value is None
        and name not in required
        and (name not in properties or "null" not in (kinds(properties[name]) or {"null"}))
    ]


def problems(arguments: Mapping[str, Any], parameters: Mapping[str, Any] | None) -> Iterator[str]:
    """What of the arguments the tool's schema refuses, as ends of sentences about the call."""
    if parameters is None:
        return
    properties = parameters.get("properties") or {}
    for name, value in arguments.items():
        if name not in properties:
            yield f"has the argument {name!r}, which the tool doesn't have"
        elif (allowed := kinds(properties[name])) and not _is_of(value, allowed):
            yield f"has {name} {value!r:.60}, which is no {' or '.join(sorted(allowed))}"
    for name in parameters.get("required") or ():
        if name not in arguments:
            yield f"lacks the argument {name!r}"


def _is_of(value: Any, allowed: set[str]) -> bool:
    if isinstance(value, bool):  # an int in Python
        return "boolean" in allowed
    if isinstance(value, float) and value.is_integer() and "integer" in allowed:
        return True
    return any(isinstance(value, _PYTHON.get(kind, (object,))) for kind in allowed)
