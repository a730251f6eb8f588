"""JSON schema of a tool's arguments -> checks that are built once and run on every call.

A call is the hot path of an environment, and a model writes it, so any value may occur. The checks
implement the part of JSON schema that tools use: types, `enum`, arrays, objects with properties,
`anyOf`, and `$ref` into `$defs`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

Fits = Callable[[Any], bool]
Convert = Callable[[Any], Any]
Schema = Mapping[str, Any]

_SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_EXACT: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}


@dataclass(frozen=True)
class Check:
    """Whether a value fits one argument, and in words what it should be."""

    fits: Fits
    words: str
    exact: type | None = None
    """Every value of exactly this type fits, as most do: then `fits` need not be called."""
    whole: Convert | None = None
    """Makes integers of numbers without a fraction; None if the schema has no integers."""


def checks(parameters: Schema) -> dict[str, Check]:
    """One check per argument of a tool, by name."""
    definitions: Schema = parameters.get("$defs", {})
    return {
        name: Check(
            _fits(schema, definitions),
            _words(schema, definitions),
            None if "enum" in schema else _EXACT.get(schema.get("type", "")),
            _whole(schema, definitions),
        )
        for name, schema in parameters["properties"].items()
    }


def _fits(schema: Schema, definitions: Schema) -> Fits:
    if "$ref" in schema:
        return _fits(_target(schema, definitions), definitions)
    if "anyOf" in schema:
        return _fits_any(schema["anyOf"], definitions)
    kind = schema.get("type")
    if kind == "array":
        item = _fits(schema.get("items", {}), definitions)
        return lambda value: isinstance(value, list) and all(map(item, value))
    if kind == "object":
        return _object(schema, definitions)
    return _enumerated(schema) if "enum" in schema else _scalar(kind)


def _fits_any(parts: Sequence[Schema], definitions: Schema) -> Fits:
    # Cheap ones first: `Passenger | dict` is an object without looking at its fields.
    cheap_first = sorted(parts, key=lambda part: "$ref" in part or "properties" in part)
    first, *others = (_fits(part, definitions) for part in cheap_first)
    if _is_any_object(cheap_first[0]) and all(map(_is_object, cheap_first, repeat(definitions))):
        return first
    return lambda value: first(value) or any(fits(value) for fits in others)


def _is_any_object(schema: Schema) -> bool:
    return (
        schema.get("type") == "object"
        and schema.keys() <= {"type", "additionalProperties"}
        and (schema.get("additionalProperties", True) is True)
    )


def _is_object(schema: Schema, definitions: Schema) -> bool:
    found = _target(schema, definitions) if "$ref" in schema else schema
    return found.get("type") == "object"


def _enumerated(schema: Schema) -> Fits:
    allowed = tuple(schema["enum"])
    scalar = _scalar(schema.get("type"))
    return lambda value: scalar(value) and value in allowed


def _scalar(kind: str | None) -> Fits:
    if kind is None:
        return lambda _: True
    types = _SCALARS[kind]
    if kind == "integer":
        # To JSON schema 2.0 is an integer, and models write it; a bool is none.
        return lambda value: (
            (isinstance(value, int) and not isinstance(value, bool))
            or (isinstance(value, float) and value.is_integer())
        )
    if kind == "number":
        # In Python a bool is an int; in JSON it isn't a number.
        return lambda value: isinstance(value, types) and not isinstance(value, bool)
    return lambda value: isinstance(value, types)


def _object(schema: Schema, definitions: Schema) -> Fits:
    properties = {
        name: _fits(part, definitions) for name, part in schema.get("properties", {}).items()
    }
    required = tuple(schema.get("required", ()))
    extra = schema.get("additionalProperties", True)
    rest = _fits(extra, definitions) if isinstance(extra, Mapping) else None
    if not properties and not required and extra is True:
        return lambda value: isinstance(value, dict)

    def fits(value: Any) -> bool:
        if not isinstance(value, dict) or not all(name in value for name in required):
            return False
        for name, part in value.items():
            known = properties.get(name, rest)
            if known is None and extra is False:
                return False
            if known is not None and not known(part):
                return False
        return True

    return fits


def _whole(schema: Schema, definitions: Schema) -> Convert | None:
    """The conversion of a value that fits the schema."""
    if "$ref" in schema:
        return _whole(_target(schema, definitions), definitions)
    if "anyOf" in schema:
        return _whole_of_any(schema["anyOf"], definitions)
    kind = schema.get("type")
    if kind == "integer":
        return lambda value: int(value) if isinstance(value, float) else value
    if kind == "array":
        item = _whole(schema.get("items", {}), definitions)
        return None if item is None else lambda value: [item(one) for one in value]
    if kind == "object":
        return _whole_object(schema, definitions)
    return None


def _whole_of_any(parts: Sequence[Schema], definitions: Schema) -> Convert | None:
    """Converts by the first part that the value fits, as validators do."""
    pairs = [(_fits(part, definitions), _whole(part, definitions)) for part in parts]
    if all(convert is None for _, convert in pairs):
        return None

    def convert(value: Any) -> Any:
        found = next((one for fits, one in pairs if fits(value)), None)
        return value if found is None else found(value)

    return convert


def _whole_object(schema: Schema, definitions: Schema) -> Convert | None:
    found = {name: _whole(part, definitions) for name, part in schema.get("properties", {}).items()}
    parts = {name: one or _same for name, one in found.items()}
    extra = schema.get("additionalProperties")
    rest = _whole(extra, definitions) if isinstance(extra, Mapping) else None
    if not any(found.values()) and rest is None:
        return None
    other = rest or _same
    return lambda value: {name: parts.get(name, other)(one) for name, one in value.items()}


def _same(value: Any) -> Any:
    return value


def _target(schema: Schema, definitions: Schema) -> Schema:
    found: Schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    return found


def _words(schema: Schema, definitions: Schema) -> str:
    """What the value should be, for a sentence ending in "to be ...": `a list of strings`."""
    if "$ref" in schema:
        return _words(_target(schema, definitions), definitions)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_words(p, definitions) for p in schema["anyOf"]))
    if "enum" in schema:
        return "one of " + ", ".join(repr(value) for value in schema["enum"])
    kind = schema.get("type", "value")
    if kind == "array":
        words = _words(schema.get("items", {}), definitions)
        return "a list of " + " or ".join(_plural(one) for one in words.split(" or "))
    if kind == "object" and schema.get("required"):
        return "an object with " + ", ".join(schema["required"])
    return "null" if kind == "null" else f"{_article(kind)} {kind}"


def _plural(words: str) -> str:
    noun, *rest = words.removeprefix("an ").removeprefix("a ").split(" ", 1)
    return " ".join((f"{noun}s" if noun != "one" else noun, *rest))


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"
