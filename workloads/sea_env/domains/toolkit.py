"""Functions -> tools: a tool's JSON schema is read from its signature once, at import.

`@tool(Kind.READ)` on `def get_order(state, order: str)` makes a Tool named `get_order` with one
required string. The docstring's first paragraph is its description. Pydantic derives the schema,
so every annotation that it knows works: `Literal`, an enum, a model of nested objects, a union, a
default.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import create_model

from sea_env.domains.base import Kind, Tool, ToolError

_PROSE = frozenset({"title", "description"})


def tool(kind: Kind, nullable: Iterable[str] = ()) -> Callable[[Callable[..., Any]], Tool]:
    """Decorator; the first parameter is the state, all others are the tool's arguments.

    `nullable`: those that take null although their annotation, and so the schema, has none.
    """

    def make(function: Callable[..., Any]) -> Tool:
        description = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
        schema = parameters(function)
        return Tool(function.__name__, kind, description, schema, function, frozenset(nullable))

    return make


def as_assertion(tool: Tool) -> Callable[..., bool]:
    """A tool that answers yes or no as an assertion; its arguments are checked like a call's."""

    def run(state: Any, **arguments: Any) -> bool:
        return bool(tool.run(state, **check_arguments(tool, arguments)))

    return run


def check_arguments(tool: Tool, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments, 2.0 as 2 where an integer is wanted.

    Raises ToolError naming the first missing, unknown or wrongly typed argument.
    """
    # Most calls give every argument in the type that the schema names, and need no other look.
    exact = tool.exact_types
    if len(arguments) == len(exact) or arguments.keys() >= tool.required:
        for name, value in arguments.items():
            if exact.get(name) is not type(value):
                fits = tool.containers.get(name)
                if fits is None or not fits(value):
                    break
        else:
            return arguments
    return _checked(tool, arguments)


def _checked(tool: Tool, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    if not arguments.keys() >= tool.required:
        missing = next(name for name in tool.parameters["required"] if name not in arguments)
        raise ToolError(f"{tool.name} needs the argument {missing!r}")
    checks, converted = tool.checks, {}
    for name, value in arguments.items():
        check = checks.get(name)
        if check is None:
            raise ToolError(f"{tool.name} has no argument {name!r}")
        if type(value) is check.exact:
            continue
        if not check.fits(value) and not (value is None and name in tool.nullable):
            raise ToolError(f"{tool.name} wants {name!r} to be {check.words}")
        if check.whole is not None:
            converted[name] = check.whole(value)
    return {**arguments, **converted} if converted else arguments


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """JSON schema of all parameters except the first, which is the state.

    `def f(state, x: str, n: int = 3)` gives `{"properties": {"x": {"type": "string"}, "n":
    {"type": "integer", "default": 3}}, "required": ["x"], "type": "object"}`.
    """
    fields: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        empty = parameter.default is inspect.Parameter.empty
        fields[name] = (parameter.annotation, ... if empty else parameter.default)
    schema: dict[str, Any] = without_prose(
        create_model(function.__name__, **fields).model_json_schema()
    )
    return schema


def without_prose(schema: Any) -> Any:
    """The schema without titles and descriptions, as tau2-bench publishes it.

    A prompt carries the tool's own description once. Properties called `title` or `description`
    stay.
    """
    if isinstance(schema, list):
        return [without_prose(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {}
    for key, value in schema.items():
        if key in {"properties", "$defs"}:
            found[key] = {name: without_prose(part) for name, part in value.items()}
        elif key not in _PROSE:
            found[key] = without_prose(value)
    return found
