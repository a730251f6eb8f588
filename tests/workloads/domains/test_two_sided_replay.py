"""Mock and telecom do with tau2-bench's own tasks exactly what tau2-bench did, on both sides."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sea_workloads.cli import main
from sea_workloads.data import tau2
from sea_workloads.data.replay import replay
from sea_workloads.data.tau2_dialogues import play
from sea_workloads.domains import registry
from sea_workloads.verify.verdict import check_verifiable

_BESIDE = Path(__file__).parents[4] / "shared" / "tau2"
DATA = Path(os.environ.get("SEA_TAU2_DATA") or _BESIDE)
DOMAINS = ["mock", "telecom"]

pytestmark = pytest.mark.skipif(
    not (DATA / "telecom" / "db.toml").is_file(),
    reason="tau2-bench's data lie neither beside the checkout nor at SEA_TAU2_DATA",
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


@pytest.mark.parametrize("name", DOMAINS)
def test_all_expected_actions_replay_exactly(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = DATA / name
    assert main(["data", "replay", "--domain", name, "--data", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = json.loads((folder / "expected.json").read_text())
    assert len(expected) == 10
    for ours, theirs in zip(found, expected, strict=True):
        assert _values(ours) == _values(theirs)


@pytest.mark.parametrize("name", DOMAINS)
def test_episodes_leave_the_shared_databases_alone(name: str) -> None:
    domain = registry.get(name)
    database = tau2.database(DATA / name, domain)
    before = json.dumps([database.agent, database.user])
    for task in tau2.tasks(DATA / name, name):
        replay(domain, task, database)
        replay(domain, task, database)
    assert json.dumps([database.agent, database.user]) == before


@pytest.mark.parametrize("name", DOMAINS)
def test_all_initial_states_are_accepted(name: str) -> None:
    for task in tau2.tasks(DATA / name, name):
        if not task.criteria.nl_assertions:
            check_verifiable(task)


def test_a_desk_that_names_the_users_tools_earns_every_telecom_reward() -> None:
    domain = registry.get("telecom")
    database = tau2.database(DATA / "telecom", domain)
    for task in tau2.tasks(DATA / "telecom", "telecom"):
        messages, reward = play(domain, task, database, "Policy")
        acts = [m for m in messages if m["role"] == "user" and m.get("tool_calls")]
        wanted = [a for a in task.criteria.actions if a.requestor == "user"]
        assert (reward, len(acts)) == (1.0, len(wanted)), task.id
