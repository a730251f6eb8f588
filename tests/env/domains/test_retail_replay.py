"""Retail does with tau2-bench's own tasks exactly what tau2-bench did."""

import json

import pytest

from sea_cli import main
from sea_data.formats import tau2
from sea_data.formats.inspection import replay
from sea_env.domains import registry
from sea_env.domains.base import Kind
from sea_testing.tau2 import DATA, expected, needs_data, read_values, schemas


@needs_data
def test_all_expected_actions_replay_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    folder = DATA / "retail"
    assert main(["data", "replay", "--domain", "retail", "--data", str(folder), "--json"]) == 0
    wanted = expected("retail")
    assert len(wanted) == 74
    assert read_values(capsys.readouterr().out) == wanted


@needs_data
def test_episodes_leave_the_shared_database_alone() -> None:
    domain = registry.get("retail")
    database = tau2.database(DATA / "retail", domain)
    before = json.dumps(database.agent)
    for task in tau2.tasks(DATA / "retail", "retail"):
        replay(domain, task, database)
    assert json.dumps(database.agent) == before


@needs_data
def test_tools_are_those_of_the_schema_file() -> None:
    schema = schemas()["retail"]
    domain = registry.get("retail")
    found = [{"name": tool.name, "parameters": tool.parameters} for tool in domain.tools]
    assert found == schema["agent_tools"]
    kinds = {
        tool.name: {"type": tool.kind, "mutates_state": tool.kind is Kind.WRITE}
        for tool in domain.tools
    }
    assert kinds == schema["tool_kinds"]
