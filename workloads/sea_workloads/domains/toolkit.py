"""Functions -> tools: the JSON schema of a tool is read off its signature, once, at import.

`@tool(Kind.READ)` on `def get_order(state, order: str)` makes a Tool named `get_order` with one
required string. The docstring's first paragraph is its description.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

from sea_workloads.domains.base import Kind, Tool, ToolError

_TYPES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def tool(kind: Kind) -> Callable[[Callable[..., Any]], Tool]:
    """Decorator; the first parameter is the state, all others are the tool's arguments."""

    def make(function: Callable[..., Any]) -> Tool:
        description = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
        return Tool(function.__name__, kind, description, _parameters(function), function)

    return make


def _parameters(function: Callable[..., Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        properties[name] = _schema(parameter.annotation)
        if parameter.default is inspect.Parameter.empty:
            required.append(name)
    schema: dict[str, Any] = {"properties": properties, "type": "object"}
    if required:
        schema["required"] = required
    return schema


def _schema(annotation: Any) -> dict[str, Any]:
    if get_origin(annotation) is list:
        return {"items": _schema(get_args(annotation)[0]), "type": "array"}
    return {"type": _TYPES[annotation]}


def check_arguments(tool: Tool, arguments: Mapping[str, Any]) -> None:
    """Raises ToolError naming the first missing, unknown or wrongly typed argument."""
    properties = tool.parameters["properties"]
    for name in tool.parameters.get("required", ()):
        if name not in arguments:
            raise ToolError(f"{tool.name} needs the argument {name!r}")
    for name, value in arguments.items():
        if name not in properties:
            raise ToolError(f"{tool.name} has no argument {name!r}")
        if not _fits(value, properties[name]):
            raise ToolError(f"{tool.name} wants {name!r} to be {_words(properties[name])}")


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    if kind == "string":
        return isinstance(value, str)
    if kind == "array":
        return isinstance(value, list) and all(_fits(item, schema["items"]) for item in value)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in {"integer", "number"}:
        wanted = int if kind == "integer" else (int, float)
        return isinstance(value, wanted) and not isinstance(value, bool)
    return True


def _words(schema: Mapping[str, Any]) -> str:
    if schema["type"] == "array":
        return f"a list of {schema['items']['type']}s"
    article = "an" if schema["type"] == "integer" else "a"
    return f"{article} {schema['type']}"
