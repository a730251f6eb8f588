"""Signatures become JSON schemas of the published form; errors of arguments are sentences."""

from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from sea_env.domains.arguments import checks
from sea_env.domains.base import Kind, Tool, ToolError
from sea_env.domains.toolkit import check_arguments, parameters, tool


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Parcel(BaseModel):
    title: str
    weight: float | None = None


def send(
    state: Any,
    parcel: Parcel | dict[str, Any],
    colour: Colour | str,
    speed: Literal["slow", "fast"],
    stops: list[list[int]],
    note: str | None = None,
    copies: int = 1,
) -> None:
    """Never called here."""


SCHEMA = parameters(send)


def test_a_signature_becomes_a_schema() -> None:
    assert SCHEMA == {
        "$defs": {
            "Colour": {"enum": ["red", "blue"], "type": "string"},
            "Parcel": {
                "properties": {
                    "title": {"type": "string"},
                    "weight": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
                },
                "required": ["title"],
                "type": "object",
            },
        },
        "properties": {
            "parcel": {
                "anyOf": [
                    {"$ref": "#/$defs/Parcel"},
                    {"additionalProperties": True, "type": "object"},
                ]
            },
            "colour": {"anyOf": [{"$ref": "#/$defs/Colour"}, {"type": "string"}]},
            "speed": {"enum": ["slow", "fast"], "type": "string"},
            "stops": {"items": {"items": {"type": "integer"}, "type": "array"}, "type": "array"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "copies": {"default": 1, "type": "integer"},
        },
        "required": ["parcel", "colour", "speed", "stops"],
        "type": "object",
    }


NAN, INF = float("nan"), float("inf")
STRICT = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}

CASES: list[tuple[dict[str, Any], list[Any], list[Any], str]] = [
    ({"type": "string"}, ["", "x"], [None, 1, ["x"]], "a string"),
    ({"type": "integer"}, [0, -3, 2.0], [True, 1.5, "1", None, NAN, INF], "an integer"),
    ({"type": "number"}, [0, 1.5], [False, "1"], "a number"),
    ({"type": "boolean"}, [True], [1, 0, "true"], "a boolean"),
    ({"type": "null"}, [None], [0, ""], "null"),
    ({"enum": [1, "a"]}, [1, "a"], [2, [], {}], "one of 1, 'a'"),
    (
        {"type": "array", "items": {"type": "string"}},
        [[], ["a"]],
        ["a", [1], ("a",)],
        "a list of strings",
    ),
    (
        {"type": "array", "items": {"enum": ["a", "b"], "type": "string"}},
        [["a", "b"]],
        [["c"], [["a"]]],
        "a list of one of 'a', 'b'",
    ),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ["a", None], [1], "a string or null"),
    (STRICT, [{}, {"a": 1}], [{"a": "1"}, {"b": 1}, [], None], "an object"),
    (COUNTS, [{}, {"x": 1}], [{"x": "1"}], "an object"),
    ({}, [None, 1, {"x": []}], [], "a value"),
]


@pytest.mark.parametrize(("schema", "good", "bad", "words"), CASES)
def test_a_check_accepts_fitting_values_and_names_them(
    schema: dict[str, Any], good: list[Any], bad: list[Any], words: str
) -> None:
    check = checks({"properties": {"x": schema}})["x"]
    assert check.words == words
    assert [check.fits(value) for value in good] == [True] * len(good)
    assert [check.fits(value) for value in bad] == [False] * len(bad)


GOOD = {"parcel": {"title": "T"}, "colour": "red", "speed": "slow", "stops": [[1]]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"speed": "warp"}, "send wants 'speed' to be one of 'slow', 'fast'"),
        ({"parcel": 7}, "send wants 'parcel' to be an object with title or an object"),
        ({"stops": [["a"]]}, "send wants 'stops' to be a list of lists of integers"),
        ({"note": 5}, "send wants 'note' to be a string or null"),
        ({"wings": 2}, "send has no argument 'wings'"),
    ],
)
def test_a_wrong_argument_is_a_sentence(change: dict[str, Any], sentence: str) -> None:
    made = tool(Kind.WRITE)(send)
    check_arguments(made, {**GOOD, "note": None, "copies": 3})
    with pytest.raises(ToolError) as caught:
        check_arguments(made, {**GOOD, **change})
    assert str(caught.value) == sentence


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(ToolError, match="send needs the argument 'stops'"):
        check_arguments(tool(Kind.WRITE)(send), {k: v for k, v in GOOD.items() if k != "stops"})


def test_a_number_without_a_fraction_is_an_integer_wherever_the_schema_wants_one() -> None:
    """JSON has one kind of number, and models write 2.0 and 50.0."""
    schema = {
        "properties": {
            "count": {"type": "integer"},
            "price": {"type": "number"},
            "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
        },
        "$defs": {"Part": {"type": "object", "properties": {"amount": {"type": "integer"}}}},
        "required": [],
    }
    made = Tool("f", Kind.READ, "", schema, lambda _: None)
    given = {"count": 2.0, "price": 50.0, "maybe": None, "parts": [{"amount": 3.0, "id": 1.0}]}
    found = check_arguments(made, given)
    assert repr(found) == repr(
        {"count": 2, "price": 50.0, "maybe": None, "parts": [{"amount": 3, "id": 1.0}]}
    )
    assert given["count"] == 2.0, "the caller's arguments, which the transcript shows, stay"
    with pytest.raises(ToolError, match="wants 'count' to be an integer"):
        check_arguments(made, {"count": 2.5})
