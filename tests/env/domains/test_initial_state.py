"""Initial states: set up once, shared by episodes, validated, required by the verifier."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sea_cli import main
from sea_data.formats import rl
from sea_env.domains import initial_state, registry
from sea_env.domains.database import Database, user_files
from sea_env.domains.database_generator import generate_database
from sea_env.domains.initial_state import InitialStateError
from sea_env.verify.checks import expected_end_state
from sea_env.verify.verdict import UnverifiableTaskError, check_verifiable, verify

MOCK = registry.get("mock")
RETAIL = registry.get("retail")
TASK = {"task_id": "task_1", "title": "T", "description": None, "status": "pending"}
NOTE = {
    "env_type": "user",
    "func_name": "add_notification",
    "arguments": {"notification_id": "n", "message": "M"},
}
CREATE = {"name": "create_task", "arguments": {"user_id": "u", "title": "X"}}
CREATED = '{"task_id":"task_2","title":"X","description":null,"status":"pending"}'


@pytest.fixture
def database() -> Database:
    users = {"u": {"user_id": "u", "name": "U", "tasks": ["task_1"]}}
    return Database({"tasks": {"task_1": TASK}, "users": users}, {"notifications": {}})


def history(answer: str = CREATED) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": "left out"},
        {"role": "assistant", "tool_calls": [CREATE]},
        {"role": "tool", "content": answer},
        {"role": "assistant", "content": "Done."},
    ]


def test_it_is_set_up_once_and_shared(database: Database) -> None:
    state = {"initialization_actions": [NOTE], "message_history": history()}
    begun = initial_state.begin(MOCK, database, state)
    assert initial_state.begin(MOCK, database, dict(state)) is begun
    assert initial_state.begin(MOCK, begun, state) is begun, "it isn't set up twice"
    assert initial_state.begin(MOCK, database, None) is database
    assert begun.agent["tasks"]["task_1"] is database.agent["tasks"]["task_1"]
    world = MOCK.open(begun)
    assert world.changes() == world.changes("user") == []
    assert world.check("assert_number_of_tasks", {"user_id": "u", "expected_number": 2})
    assert not MOCK.open(database).check(
        "assert_number_of_tasks", {"user_id": "u", "expected_number": 2}
    )


def test_data_is_merged_and_lists_are_replaced(database: Database) -> None:
    data: dict[str, Any] = {"agent_data": {"users": {"u": {"tasks": []}}}}
    begun = initial_state.begin(MOCK, database, {"initialization_data": data})
    assert begun.agent["users"]["u"] == {"user_id": "u", "name": "U", "tasks": []}
    assert begun.user is begun.agent, "tau2's mock: both sides have one database then"
    assert MOCK.open(begun).call("check_notifications", {}, "user").error


def test_data_of_a_one_sided_domain_shares_the_unchanged_tables() -> None:
    database = generated("retail")
    key = next(iter(database.agent["users"]))
    data = {"agent_data": {"users": {key: {"email": "new@x.org"}}}}
    begun = initial_state.begin(RETAIL, database, {"initialization_data": data})
    assert begun.agent["users"][key] == {**database.agent["users"][key], "email": "new@x.org"}
    assert begun.agent["orders"] is database.agent["orders"]
    assert begun.user == {}


@pytest.mark.parametrize(
    ("name", "table", "change", "place"),
    [
        ("retail", "orders", {"status": "lost"}, "status"),
        ("retail", "users", {"orders": None}, "orders"),
        ("shop", "orders", {"total": "much"}, "total"),
        ("shop", "users", {"colour": "red"}, "colour"),
        ("airline", "reservations", {"passengers": [{"first_name": 3}]}, "passengers.0.first_name"),
        ("airline", "flights", {"dates": {"2024-05-15": {"status": "lost"}}}, "dates.2024-05-15"),
    ],
)
def test_data_of_a_wrong_layout_is_refused(
    name: str, table: str, change: dict[str, Any], place: str
) -> None:
    """Only the records that the data changes are validated, not the whole database."""
    domain, database = registry.get(name), generated(name)
    key, other, *_ = database.agent[table]
    state = {"initialization_data": {"agent_data": {table: {key: change}}}}
    with pytest.raises(InitialStateError, match=re.escape(f"is wrong at {table}.{key}.{place}")):
        initial_state.begin(domain, database, state)
    as_it_was = {"agent_data": {table: {key: dict(database.agent[table][key])}}}
    begun = initial_state.begin(domain, database, {"initialization_data": as_it_was})
    assert begun.agent[table] == database.agent[table]
    assert begun.agent[table][other] is database.agent[table][other]


def generated(name: str) -> Database:
    """A small generated database."""
    return generate_database(registry.get(name), "small", 1).load(registry.get(name))


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"initialization_actions": {"a": 1}}, "must be a list of objects"),
        ({"initialization_actions": [7]}, "must be a list of objects"),
        ({"initialization_actions": [{**NOTE, "env_type": "x"}]}, "'user' or 'assistant'"),
        ({"initialization_actions": [{**NOTE, "func_name": "fly"}]}, "no function 'fly'"),
        ({"initialization_data": {"both": {"a": 1}}}, "unknown side 'both'"),
        ({"initialization_data": {"agent_data": [1]}}, "agent_data must be an object"),
        ({"initialization_actions": [{**NOTE, "arguments": "x"}]}, "arguments must be an object"),
        ({"initialization_actions": [{**NOTE, "func_name": {}}]}, "no function {}"),
        ({"message_history": {"a": 1}}, "must be a list"),
        ({"message_history": [{"role": "judge"}]}, r"message_history\[0\] must be an object"),
        ({"message_history": [{"role": "user"}]}, "neither text nor calls"),
        ({"message_history": history()[:2]}, "ends before the answer"),
        ({"message_history": [{"role": "tool", "content": ""}]}, "answers no call"),
        (
            {"message_history": [*history()[:2], {"role": "user", "content": "x"}]},
            "before the answer",
        ),
        (
            {"message_history": [{"role": "user", "tool_calls": [{"name": 1}]}]},
            "objects with a name",
        ),
        ({"message_history": [{"role": "user", "tool_calls": {"a": 1}}]}, "must be a list"),
    ],
)
def test_shapes_and_names_are_refused_before_any_episode(
    state: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnverifiableTaskError, match=reason):
        check_verifiable(rl.task({"id": "mock_1", "initial_state": state}))


def test_an_empty_list_of_data_is_no_data(database: Database) -> None:
    state: dict[str, Any] = {"initialization_data": []}
    check_verifiable(rl.task({"id": "mock_1", "initial_state": state}))
    assert initial_state.begin(MOCK, database, state).agent == database.agent


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"initialization_data": {"agent_data": {"x": {"a": 1}}}}, "unknown table 'x'"),
        (
            {"initialization_data": {"agent_data": {"tasks": {"t": {"title": 1}}}}},
            "wrong at tasks.t",
        ),
        (
            {
                "initialization_actions": [
                    {"env_type": "user", "func_name": "dismiss_notification", "arguments": {}}
                ]
            },
            r"initialization_actions\[0\] \(dismiss_notification\): .*needs the argument",
        ),
        ({"message_history": history("other")}, "create_task answers .* not 'other'"),
    ],
)
def test_what_only_the_database_shows_is_refused_with_its_place(
    database: Database, state: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InitialStateError, match=reason):
        initial_state.begin(MOCK, database, state)


def test_the_verifier_requires_that_the_episode_began_with_it(database: Database) -> None:
    update: dict[str, Any] = {
        "name": "update_task_status",
        "arguments": {"task_id": "task_2", "status": "completed"},
    }
    row = {
        "id": "mock_1",
        "initial_state": {"message_history": history()},
        "evaluation_criteria": {"actions": [update], "reward_basis": ["DB"]},
    }
    task = rl.task(row)
    with pytest.raises(UnverifiableTaskError, match=r"initial_state\.begin"):
        verify(MOCK, task, MOCK.open(database), [])
    begun = initial_state.begin(MOCK, database, task.initial_state)
    world = MOCK.open(begun)
    assert verify(MOCK, task, world, []).reward == 0.0
    world.call(update["name"], update["arguments"])
    assert verify(MOCK, task, world, []).reward == 1.0
    assert expected_end_state(MOCK, task, begun)[0] == [
        {"path": "/tasks/task_2/status", "value": "completed"}
    ]


def test_expected_actions_of_both_sides_and_assertions_count(database: Database) -> None:
    dismiss = {
        "name": "dismiss_notification",
        "arguments": {"notification_id": "n"},
        "requestor": "user",
    }
    read = {
        "env_type": "user",
        "func_name": "assert_notification_status",
        "arguments": {"notification_id": "n", "expected_status": "read"},
    }
    missing = {**read, "arguments": {"notification_id": "x", "expected_status": "read"}}
    basis = ["DB", "ENV_ASSERTION", "ACTION"]

    def row(assertion: dict[str, Any]) -> dict[str, Any]:
        criteria = {"actions": [dismiss], "env_assertions": [assertion], "reward_basis": basis}
        state = {"initialization_actions": [NOTE]}
        return {"id": "mock_1", "initial_state": state, "evaluation_criteria": criteria}

    task = rl.task(row(read))
    world = MOCK.open(initial_state.begin(MOCK, database, task.initial_state))
    world.call("dismiss_notification", {"notification_id": "n"}, "user")
    call = {"name": "dismiss_notification", "arguments": {"notification_id": "n"}}
    made = [{"role": "user", "content": "", "tool_calls": [call]}]
    assert verify(MOCK, task, world, made).parts == dict.fromkeys(basis, 1.0)
    agents = [{**made[0], "role": "assistant"}]
    assert verify(MOCK, task, world, agents).parts["ACTION"] == 1.0, "as tau2-bench: any side's"
    assert verify(MOCK, task, world, []).parts["ACTION"] == 0.0
    unanswerable = rl.task(row({**missing, "assert_value": False}))
    assert verify(MOCK, unanswerable, world, made).parts["ENV_ASSERTION"] == 0.0


def test_names_of_a_users_database_files() -> None:
    assert user_files("telecom_db.toml") == ["telecom_user_db.json", "telecom_user_db.toml"]
    assert user_files("telecom_db.toml.gz") == user_files("telecom_db.toml")
    assert user_files("db.json") == ["user_db.json", "user_db.toml"]
    assert user_files("a.json") == ["a_user_db.json", "a_user_db.toml"]


def test_the_command_names_the_message_that_cannot_be_repeated(
    tmp_path: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    task = {"id": "1", "initial_state": {"message_history": history("other")}}
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    (tmp_path / "db.json").write_text(json.dumps(database.agent))
    assert main(["data", "replay", "--domain", "mock", "--data", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("sea: ")
    assert "message_history: create_task answers" in said
