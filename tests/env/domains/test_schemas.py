"""Tools and databases are those of tau2-bench's published schemas, name by name, type by type."""

from typing import Any

import pytest

from sea_env.domains import registry
from sea_env.domains.airline.records import AirlineTables
from sea_env.domains.base import Kind, Tool
from sea_env.domains.toolkit import without_prose
from sea_testing.tau2 import needs_schemas, schemas

NOT_PUBLISHED = {"shop"}
"""Domains that tau2-bench doesn't have."""

pytestmark = needs_schemas


def published(domain: str) -> dict[str, Any]:
    found: dict[str, Any] = schemas()[domain]
    return found


def shown(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "parameters": tool.parameters}


def names() -> list[str]:
    return [name for name in registry.names() if name not in NOT_PUBLISHED]


@pytest.mark.parametrize("side", ["agent_tools", "user_tools"])
@pytest.mark.parametrize("name", names())
def test_tools_have_the_published_names_and_parameters(name: str, side: str) -> None:
    domain = registry.get(name)
    tools = domain.user_tools if side == "user_tools" else domain.tools
    wanted = published(name)[side] or []
    assert [tool.name for tool in tools] == [tool["name"] for tool in wanted]
    for tool, expected in zip(tools, wanted, strict=True):
        assert shown(tool) == expected


@pytest.mark.parametrize("name", names())
def test_tools_read_and_write_as_published(name: str) -> None:
    kinds = {
        tool.name: {"type": str(tool.kind), "mutates_state": tool.kind is Kind.WRITE}
        for tool in registry.get(name).tools
    }
    assert kinds == published(name)["tool_kinds"]


@pytest.mark.parametrize("name", names())
def test_user_tools_write_unless_they_only_look(name: str) -> None:
    """The published file has no kinds of user tools; their names show them."""
    looks = ("check_", "can_", "run_")
    for tool in registry.get(name).user_tools:
        assert tool.kind is (Kind.READ if tool.name.startswith(looks) else Kind.WRITE), tool.name


@pytest.mark.parametrize("name", names())
def test_every_tool_has_a_description(name: str) -> None:
    domain = registry.get(name)
    for tool in (*domain.tools, *domain.user_tools):
        assert len(tool.description) > 10, tool.name


def test_the_airlines_database_has_the_published_layout() -> None:
    found = without_prose(AirlineTables.model_json_schema())
    assert found == published("airline")["agent_db_schema"]


def test_every_published_domain_exists() -> None:
    assert set(schemas()) <= set(registry.names())
