"""Turns with tool calls in both formats, and seeded mutations of them: what models get wrong."""

import json
import random
from collections.abc import Iterator
from typing import Any

SCHEMA = {
    "type": "object",
    "properties": {
        "s": {"type": "string"},
        "i": {"type": "integer"},
        "b": {"type": "boolean"},
        "l": {"type": "array", "items": {"type": "string"}},
    },
}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": name, "description": "", "parameters": SCHEMA}}
    for name in ("f", "g")
]
TYPES: list[dict[str, Any]] = [
    {},
    *({"type": kind} for kind in ("string", "integer", "number", "boolean", "array", "object")),
    *({"type": kind} for kind in ("str", "int", "float", "bool", "list", "dict", "any", "tuple")),
    *({"type": [kind, "null"]} for kind in ("string", "integer", "boolean")),
    {"type": ["string", "integer"]},
    {"anyOf": [{"type": "number"}, {"type": "string"}]},
    {"oneOf": [{"type": "array"}, {"type": "null"}]},
    {"allOf": [{"type": "integer"}]},
    {"enum": [1, 2]},
    {"enum": ["a", None]},
    {"type": "string", "enum": ["1", "2"]},
    {"$ref": "#/$defs/x"},
    {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]},
    {"type": "STRING"},
    {"type": ["string", "uint64"]},
]
"""Schemas of one argument, as domains, pydantic and published tool lists write them."""
HUGE = "9" * 40
VALUES = (
    "12", "-3", "007", "+5", "1.5", "5.0", "1e3", "1e999", HUGE, "true", "True", "FALSE", "0",
    "null", "NULL", "a", "two words", "", "[1, 2]", '["a"]', '{"a": 1}', "[", "NaN", "Infinity",
    "\u0665", "1_000", '"12"',
)  # fmt: skip
"""Texts of one argument."""
TYPED = {"type": "object", "properties": {f"p{i}": one for i, one in enumerate(TYPES)}}
TOOLS.append(
    {"type": "function", "function": {"name": "typed", "description": "", "parameters": TYPED}}
)


def typed_turns() -> list[tuple[str, str, dict[str, Any]]]:
    """(turn, text of the value, its schema): each value as an argument of each type, as XML."""
    return [
        (f"<tool_call>\n{_xml('typed', {f'p{i}': value})}\n</tool_call>", value, schema)
        for i, schema in enumerate(TYPES)
        for value in VALUES
    ]


_ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"s": "x"},
    {"s": "two words", "i": 5},
    {"i": -3, "b": True},
    {"s": "a\nb", "l": ["p", "q"]},
]
_JSON_PIECES = (
    "<tool_call>", "</tool_call>", '"arguments"', '"name"', "{", "}", ":", ",", '"', "\n",
)  # fmt: skip
_XML_PIECES = (
    "<tool_call>", "</tool_call>", "<function=f>", "</function>", "<parameter=s>", "<parameter=i>",
    "</parameter>", "\n",
)  # fmt: skip


def written(calls: list[tuple[str, dict[str, Any]]], text: str, *, xml: bool) -> str:
    """A turn as the families' templates write it."""
    write = _xml if xml else _json
    bodies = [f"<tool_call>\n{write(name, given)}\n</tool_call>" for name, given in calls]
    return "\n".join([*([text] if text else []), *bodies])


def _json(name: str, arguments: dict[str, Any]) -> str:
    return json.dumps({"name": name, "arguments": arguments})


def _xml(name: str, arguments: dict[str, Any]) -> str:
    lines = [f"<function={name}>"]
    for key, value in arguments.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        lines += [f"<parameter={key}>", shown, "</parameter>"]
    return "\n".join([*lines, "</function>"])


def turns(count: int, *, xml: bool, seed: int = 0) -> Iterator[str]:
    """`count` texts of turns: whole ones and ones with one or two mutations."""
    rng = random.Random(f"{seed} {xml}")
    pieces = _XML_PIECES if xml else _JSON_PIECES
    for _ in range(count):
        calls = [(rng.choice("fg"), rng.choice(_ARGUMENTS)) for _ in range(rng.randint(1, 2))]
        text = written(calls, rng.choice(["", "One moment."]), xml=xml)
        for _ in range(rng.choice([0, 1, 1, 1, 2])):
            text = _mutated(text, pieces, rng)
        yield text


def _mutated(text: str, pieces: tuple[str, ...], rng: random.Random) -> str:
    """One piece of markup is dropped, doubled, added, or the turn is cut."""
    piece = rng.choice(pieces)
    places = [at for at in range(len(text)) if text.startswith(piece, at)]
    kind = rng.choice(["drop", "drop", "double", "add", "cut"])
    if kind == "add" or not places:
        at = rng.randrange(len(text) + 1)
        return text[:at] + piece + text[at:]
    if kind == "cut":
        return text[: rng.randrange(len(text))]
    at = rng.choice(places)
    return text[:at] + (piece * 2 if kind == "double" else "") + text[at + len(piece) :]
