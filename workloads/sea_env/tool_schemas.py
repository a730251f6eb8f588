"""Schemas of tools for servers that know a part of JSON schema only, such as Gemini. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]


def without(tools: Sequence[Schema], keywords: Collection[str]) -> list[dict[str, Any]]:
    """The tools, with definitions written out where they are referred to, without `keywords`.

    A `const` that is left out becomes an `enum` of one. A schema that contains itself is any object
    where it does.
    """
    found = []
    for tool in tools:
        function = dict(tool["function"])
        if given := function.get("parameters"):
            definitions = given.get("$defs") or {}
            function["parameters"] = _plain(given, definitions, {*keywords, "$defs"}, ())
        found.append({**tool, "function": function})
    return found


def _plain(schema: Any, definitions: Schema, dropped: set[str], inside: tuple[str, ...]) -> Any:
    if isinstance(schema, list):
        return [_plain(part, definitions, dropped, inside) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    if name in definitions:
        if name in inside:
            return {"type": "object"}
        own = {key: value for key, value in schema.items() if key != "$ref"}
        written = _plain(definitions[name], definitions, dropped, (*inside, name))
        # What stands next to a reference (a description, a default) is the argument's own.
        return {**written, **_plain(own, definitions, dropped, inside)}
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":  # names of arguments, which may be those of keywords
            found[key] = {
                one: _plain(part, definitions, dropped, inside) for one, part in value.items()
            }
        elif key not in dropped:
            found[key] = _plain(value, definitions, dropped, inside)
        elif key == "const":
            found["enum"] = [value]
    return found
