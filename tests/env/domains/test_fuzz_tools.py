"""Any call of a model gives a result, never an exception; errors and reads change nothing.

Arguments are drawn from each tool's own schema, with ids of the database among the strings; some
are then replaced by arbitrary values.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sea_env.domains import registry
from sea_env.domains.base import Kind, Tool, ToolResult
from sea_env.domains.database import Database
from sea_env.domains.database_generator import NoGeneratorError, generate_database

_INTEGERS = st.integers(-(2**63), 2**64 - 1) | st.integers(-3, 400)
_ANYTHING = st.recursive(
    st.none() | st.booleans() | _INTEGERS | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@cache
def database(name: str) -> Database:
    try:
        return generate_database(registry.get(name), "small", 2).load(registry.get(name))
    except NoGeneratorError:
        pytest.skip(f"{name} generates no databases")


@cache
def known(name: str) -> st.SearchStrategy[str]:
    """Keys and texts of the database: ids that a tool can find."""
    found: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, Mapping):
            found.update(value)
            for part in value.values():
                collect(part)
        elif isinstance(value, list):
            for part in value:
                collect(part)
        elif isinstance(value, str):
            found.add(value)

    for side in (database(name).agent, database(name).user):
        collect(side)
    return st.sampled_from(sorted(found))


def fitting(name: str, schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Any:
    """Values of a JSON schema, strings from the database."""
    if "$ref" in schema:
        return fitting(name, whole["$defs"][schema["$ref"].rsplit("/", 1)[-1]], whole)
    if "anyOf" in schema:
        return st.one_of(*(fitting(name, part, whole) for part in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        return st.lists(fitting(name, schema["items"], whole), max_size=3)
    if kind == "object":
        parts = {n: fitting(name, p, whole) for n, p in schema.get("properties", {}).items()}
        return st.fixed_dictionaries(parts) if parts else _ANYTHING.filter(_is_object)
    plain = {"integer": _INTEGERS, "number": _INTEGERS, "boolean": st.booleans()}
    return plain.get(str(kind), known(name) | st.text(max_size=5))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


@st.composite
def calls(draw: st.DrawFn, name: str, tools: tuple[Tool, ...]) -> tuple[Tool, dict[str, Any]]:
    tool = draw(st.sampled_from(tools))
    arguments = {
        key: draw(fitting(name, schema, tool.parameters))
        for key, schema in tool.parameters["properties"].items()
    }
    if arguments and draw(st.integers(0, 3)) == 0:
        arguments[draw(st.sampled_from(sorted(arguments)))] = draw(_ANYTHING)
    return tool, arguments


@pytest.mark.parametrize("name", registry.names())
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_call_gets_a_result(name: str, data: st.DataObject) -> None:
    domain, base = registry.get(name), database(name)
    environment = domain.open(base)
    sides = {"assistant": tuple(domain.tools), "user": tuple(domain.user_tools)}
    for requestor in data.draw(
        st.lists(st.sampled_from([s for s in sides if sides[s]]), max_size=5)
    ):
        tool, arguments = data.draw(calls(name, sides[requestor]))
        before = json.dumps([environment.changes("assistant"), environment.changes("user")])
        result = environment.call(tool.name, arguments, requestor)
        assert isinstance(result, ToolResult)
        assert isinstance(result.content, str)
        after = json.dumps([environment.changes("assistant"), environment.changes("user")])
        may_change = tool.kind is Kind.WRITE and not result.error
        assert may_change or before == after, (tool.name, arguments)
