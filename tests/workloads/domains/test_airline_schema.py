"""The airline's tools and database are those of tau2-bench's published schemas, to the letter."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sea_workloads.domains import registry
from sea_workloads.domains.airline.layout import AirlineTables
from sea_workloads.domains.base import Kind
from sea_workloads.domains.signature import without_prose

_BESIDE = Path(__file__).parents[4] / "shared" / "tau2"
FILE = Path(os.environ.get("SEA_TAU2_DATA") or _BESIDE) / "domain_schemas.json"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    if not FILE.is_file():
        pytest.skip("tau2-bench's schemas lie neither beside the checkout nor at SEA_TAU2_DATA")
    found: dict[str, Any] = json.loads(FILE.read_text())["airline"]
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
