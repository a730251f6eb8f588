"""Task rows: the published layout, and every kind of broken row with its place and reason."""

import json
from typing import Any

import pytest

from sea_data.errors import RowError
from sea_data.formats import database_files, rl
from sea_env.tasks.task import Task

ROW: dict[str, Any] = {
    "id": "airline_1",
    "description": {"purpose": "p"},
    "user_scenario": {"instructions": {"reason_for_call": "r"}},
    "evaluation_criteria": json.dumps(
        {"actions": [{"name": "f", "arguments": {"a": 1}}], "communicate_info": ["x", 3]}
    ),
    "db_path": "tau2_rl_database/tau2_airline_db.json",
}


def test_a_published_row() -> None:
    (task,) = rl.read([json.dumps(ROW).encode(), b"\n"], "rl.jsonl")
    assert isinstance(task, Task)
    assert (task.id, task.key, task.domain) == ("airline_1", "rl.jsonl:1", "airline")
    assert task.criteria.reward_basis == ("DB", "COMMUNICATE")
    assert task.criteria.actions[0].requestor == "assistant"
    assert task.criteria.communicate_info == ["x", "3"]
    again = rl.task(task.row)
    assert again.criteria == task.criteria, "a row whose criteria are parsed reads alike"


def with_criteria(**criteria: Any) -> dict[str, Any]:
    return ROW | {"evaluation_criteria": json.dumps(criteria)}


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        (b'{"id": "x"', "", "isn't valid JSON"),
        (b'{"id": "\xff"}', "", "isn't valid UTF-8 (byte 8)"),
        (b"[" * 100_000, "", "isn't valid JSON"),
        (b"3", "", "must be a JSON object"),
        (ROW | {"id": ""}, "id", "non-empty"),
        (ROW | {"id": "1", "user_scenario": {}}, "user_scenario.instructions.domain", "no domain"),
        (ROW | {"user_scenario": []}, "user_scenario", "an object, not list"),
        (ROW | {"evaluation_criteria": "{"}, "evaluation_criteria", "isn't JSON"),
        (ROW | {"evaluation_criteria": "[]"}, "evaluation_criteria", "must be an object"),
        (with_criteria(actions={}), "evaluation_criteria.actions", "must be a list"),
        (with_criteria(actions=[3]), "evaluation_criteria.actions[0]", "must be an object"),
        (with_criteria(actions=[{}]), "evaluation_criteria.actions[0].name", "non-empty"),
        (
            with_criteria(actions=[{"name": "f", "arguments": []}]),
            "evaluation_criteria.actions[0].arguments",
            "must be an object",
        ),
        (with_criteria(reward_basis=["X"]), "evaluation_criteria.reward_basis", "none of DB"),
        (
            with_criteria(env_assertions=[{"func_name": 1}]),
            "evaluation_criteria.env_assertions[0].func_name",
            "non-empty",
        ),
        (ROW | {"db_path": "../secret.json"}, "db_path", "leaves the folder"),
    ],
)
def test_a_broken_row_says_where_and_why(row: Any, field: str, reason: str) -> None:
    line = row if isinstance(row, bytes) else json.dumps(row).encode()
    good, bad = rl.read([json.dumps(ROW).encode(), line], "f.jsonl")
    assert isinstance(good, Task)
    assert isinstance(bad, RowError)
    assert (bad.file, bad.line, bad.field) == ("f.jsonl", 2, field)
    assert reason in str(bad)
    assert str(bad).startswith(f"f.jsonl:2: {field or 'row'}: ")


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "a/../../x", "a\\..\\x", "s3://b/x", "file:/x",
     "%2e%2e/x", "a/..%2Fx", "a?x", "a#x", "~/x", "", " ", "a\0b", "a\nb", 3, None,
     "x" * 1000],
)  # fmt: skip
def test_paths_that_leave_the_folder_are_refused(path: Any) -> None:
    with pytest.raises(RowError, match="db_path"):
        database_files.join_path("s3://bucket/databases", path)


@pytest.mark.parametrize(
    ("root", "path", "joined"),
    [
        ("s3://b/db/", "x.json", "s3://b/db/x.json"),
        ("s3://b/db", "sub/x.json", "s3://b/db/sub/x.json"),
        ("s3://b/tau2_rl_database/", "tau2_rl_database/x.toml", "s3://b/tau2_rl_database/x.toml"),
        ("/data", "tau2_rl_database/x.toml", "/data/tau2_rl_database/x.toml"),
    ],
)
def test_paths_are_joined_below_the_folder(root: str, path: str, joined: str) -> None:
    assert database_files.join_path(root, path) == joined
