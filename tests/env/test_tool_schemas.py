"""Tools for servers that know a part of JSON schema."""

from typing import Any

import pytest

from sea_env import tool_schemas

NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}


def tool(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, **more}
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


@pytest.mark.parametrize(
    ("given", "definitions", "wanted"),
    [
        ({"$ref": "#/$defs/A"}, {"A": {"type": "string"}}, {"type": "string"}),
        (
            {"items": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "object"}]}, "type": "array"},
            {
                "A": {"type": "object", "properties": {"b": {"$ref": "#/$defs/B"}}},
                "B": {"enum": [1]},
            },
            {
                "items": {
                    "anyOf": [
                        {"type": "object", "properties": {"b": {"enum": [1]}}},
                        {"type": "object"},
                    ]
                },
                "type": "array",
            },
        ),
        (
            {"$ref": "#/$defs/Node"},
            {"Node": NODE},
            {"type": "object", "properties": {"next": {"type": "object"}}},
        ),
        (
            {"$ref": "#/$defs/A", "default": "b", "description": "Own."},
            {"A": {"enum": ["a", "b"], "description": "Of all."}},
            {"enum": ["a", "b"], "default": "b", "description": "Own."},
        ),
        ({"type": "object", "additionalProperties": True}, {}, {"type": "object"}),
        ({"const": "a"}, {}, {"enum": ["a"]}),
        (
            {"type": "object", "properties": {"const": {"type": "string"}}},
            {},
            {"type": "object", "properties": {"const": {"type": "string"}}},
        ),
    ],
)
def test_definitions_are_written_out_and_keywords_left_out(
    given: Any, definitions: Any, wanted: Any
) -> None:
    (found,) = tool_schemas.without(
        [tool({"x": given}, **({"$defs": definitions} if definitions else {}))],
        {"additionalProperties", "const"},
    )
    assert found == tool({"x": wanted})


def test_a_tool_without_arguments_stays() -> None:
    given = {"type": "function", "function": {"name": "f"}}
    assert tool_schemas.without([given], {"const"}) == [given]
