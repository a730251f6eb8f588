"""Functions -> tools: the JSON schema of a tool is read off its signature, once, at import.

`@tool(Kind.READ)` on `def get_order(state, order: str)` makes a Tool named `get_order` with one
required string. The docstring's first paragraph is its description.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from sea_env.domains.base import Kind, Tool, ToolError
from sea_env.domains.signature import parameters


def tool(kind: Kind) -> Callable[[Callable[..., Any]], Tool]:
    """Decorator; the first parameter is the state, all others are the tool's arguments."""

    def make(function: Callable[..., Any]) -> Tool:
        description = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
        return Tool(function.__name__, kind, description, parameters(function), function)

    return make


def asserting(tool: Tool) -> Callable[..., bool]:
    """A tool that answers yes or no as an assertion, its arguments checked like a call's."""

    def run(state: Any, **arguments: Any) -> bool:
        check_arguments(tool, arguments)
        return bool(tool.run(state, **arguments))

    return run


def check_arguments(tool: Tool, arguments: Mapping[str, Any]) -> None:
    """Raises ToolError naming the first missing, unknown or wrongly typed argument."""
    for name in tool.required:
        if name not in arguments:
            raise ToolError(f"{tool.name} needs the argument {name!r}")
    checks = tool.checks
    for name, value in arguments.items():
        check = checks.get(name)
        if check is None:
            raise ToolError(f"{tool.name} has no argument {name!r}")
        if not check.fits(value):
            raise ToolError(f"{tool.name} wants {name!r} to be {check.words}")
