"""The airline's tools and database are those of tau2-bench's published schemas, to the letter."""

from typing import Any

import pytest

from sea_env.domains import registry
from sea_env.domains.airline.records import AirlineTables
from sea_env.domains.base import Kind
from sea_env.domains.toolkit import without_prose
from sea_testing.tau2 import needs_schemas, schemas

pytestmark = needs_schemas


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found: dict[str, Any] = schemas()["airline"]
    return found


def test_tools_are_those_of_the_schema_file(schema: dict[str, Any]) -> None:
    tools = registry.get("airline").tools
    found = [{"name": tool.name, "parameters": tool.parameters} for tool in tools]
    assert found == schema["agent_tools"]
    assert schema["user_tools"] == list(registry.get("airline").user_tools)
    kinds = {
        tool.name: {"type": tool.kind, "mutates_state": tool.kind is Kind.WRITE} for tool in tools
    }
    assert kinds == schema["tool_kinds"]


def test_the_database_has_the_layout_of_the_schema_file(schema: dict[str, Any]) -> None:
    assert without_prose(AirlineTables.model_json_schema()) == schema["agent_db_schema"]
