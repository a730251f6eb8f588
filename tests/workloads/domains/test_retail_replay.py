"""Retail does with tau2-bench's own tasks exactly what tau2-bench did."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sea_workloads.cli import main
from sea_workloads.data import tau2
from sea_workloads.data.replay import replay
from sea_workloads.domains import registry
from sea_workloads.domains.base import Kind

_BESIDE = Path(__file__).parents[4] / "shared" / "tau2"
DATA = Path(os.environ.get("SEA_TAU2_DATA") or _BESIDE)

needs_data = pytest.mark.skipif(
    not (DATA / "retail" / "db.json").is_file(),
    reason="tau2-bench's retail data lie neither beside the checkout nor at SEA_TAU2_DATA",
)


def _values(result: dict[str, Any]) -> dict[str, Any]:
    """Results as JSON values: text that holds JSON is compared by what it says."""
    calls = [{**call, "content": _value(call["content"])} for call in result["gold_calls"]]
    return {**result, "gold_calls": calls}


def _value(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content


@needs_data
def test_all_expected_actions_replay_exactly(capsys: pytest.CaptureFixture[str]) -> None:
    folder = DATA / "retail"
    assert main(["data", "replay", "--domain", "retail", "--data", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = json.loads((folder / "expected.json").read_text())
    assert len(expected) == 74
    assert [_values(result) for result in found] == [_values(result) for result in expected]


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
    schema = json.loads((DATA / "domain_schemas.json").read_text())["retail"]
    domain = registry.get("retail")
    found = [{"name": tool.name, "parameters": tool.parameters} for tool in domain.tools]
    assert found == schema["agent_tools"]
    kinds = {
        tool.name: {"type": tool.kind, "mutates_state": tool.kind is Kind.WRITE}
        for tool in domain.tools
    }
    assert kinds == schema["tool_kinds"]
