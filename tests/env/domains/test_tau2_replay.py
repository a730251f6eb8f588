"""Replays of tau2-bench's own tasks do exactly what tau2-bench did, on both sides."""

import json

import pytest

from sea_cli import main
from sea_data.formats import tau2
from sea_data.formats.inspection import replay
from sea_data.formats.tau2_convert import play
from sea_env.domains import registry
from sea_env.verify.verdict import check_verifiable
from sea_testing.tau2 import DATA, expected, needs_data, read_values

TASKS = {"mock": 10, "retail": 74, "telecom": 10}
TWO_SIDED = ["mock", "telecom"]

pytestmark = needs_data


@pytest.mark.parametrize(("name", "count"), TASKS.items())
def test_all_expected_actions_replay_exactly(
    name: str, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = DATA / name
    assert main(["data", "replay", "--domain", name, "--data", str(folder), "--json"]) == 0
    wanted = expected(name)
    assert len(wanted) == count
    # One by one: a difference of whole lists would be too long to read.
    for found, published in zip(read_values(capsys.readouterr().out), wanted, strict=True):
        assert found == published


@pytest.mark.parametrize("name", TASKS)
def test_episodes_do_not_change_the_shared_databases(name: str) -> None:
    domain = registry.get(name)
    database = tau2.database(DATA / name, domain)
    before = json.dumps([database.agent, database.user])
    for task in tau2.tasks(DATA / name, name):
        replay(domain, task, database)
        # Again: the initial state comes from the memo this time.
        replay(domain, task, database)
    assert json.dumps([database.agent, database.user]) == before


@pytest.mark.parametrize("name", TWO_SIDED)
def test_all_initial_states_are_accepted(name: str) -> None:
    tasks = [t for t in tau2.tasks(DATA / name, name) if not t.criteria.nl_assertions]
    assert tasks
    for task in tasks:
        check_verifiable(task)


def test_an_agent_that_names_the_users_tools_earns_every_telecom_reward() -> None:
    domain = registry.get("telecom")
    database = tau2.database(DATA / "telecom", domain)
    for task in tau2.tasks(DATA / "telecom", "telecom"):
        messages, reward = play(domain, task, database, "Policy")
        acts = [m for m in messages if m["role"] == "user" and m.get("tool_calls")]
        wanted = [a for a in task.criteria.actions if a.requestor == "user"]
        assert (reward, len(acts)) == (1.0, len(wanted)), task.id
