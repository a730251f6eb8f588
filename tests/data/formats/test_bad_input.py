"""Each kind of bad input is reported with file, line, field and reason; nothing else breaks."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sea_cli import main
from sea_data.formats import rl, shop_dataset
from sea_env.domains import registry
from sea_env.domains.database_generator import Size, generate_database
from sea_env.domains.shop.entities import Split

Check = Callable[..., dict[str, Any]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with one shop database and its tasks."""
    tables = shop_dataset.databases(Split.TRAIN, 1, seed=0)
    (tmp_path / "databases").mkdir()
    for path, value in tables.items():
        (tmp_path / path).write_text(json.dumps(value))
    (tmp_path / "rl.jsonl").write_text("".join(shop_dataset.tasks(Split.TRAIN, tables, 3, seed=1)))
    return tmp_path


@pytest.fixture
def check(root: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """`sea data check --json` of the task file with these changes to its second row."""

    def run(raw: bytes | None = None, **changes: Any) -> dict[str, Any]:
        file = root / "rl.jsonl"
        lines = file.read_bytes().splitlines()
        lines[1] = raw if raw is not None else json.dumps(json.loads(lines[1]) | changes).encode()
        file.write_bytes(b"\n".join(lines))
        code = main(["data", "check", str(file), "--databases", str(root), "--json"])
        report = json.loads(capsys.readouterr().out)
        assert code == (1 if report["bad_rows"] else 0)
        found: dict[str, Any] = report["files"][0]
        assert found["rows"] == 3, "no row disappears"
        return found

    return run


def criteria(*actions: dict[str, Any]) -> str:
    return json.dumps({"actions": list(actions)})


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"raw": b'{"id": "shop_1", "user_sc'}, "", "isn't valid JSON"),
        ({"raw": b'{"id": "\xff\xfe"}'}, "", "isn't valid UTF-8"),
        ({"raw": b"null"}, "", "must be a JSON object"),
        ({"id": 3.5}, "id", "non-empty string"),
        ({"user_scenario": "x"}, "user_scenario", "must be an object, not str"),
        ({"initial_state": []}, "initial_state", "must be an object, not list"),
        ({"evaluation_criteria": "actions: []"}, "evaluation_criteria", "string that isn't JSON"),
        ({"evaluation_criteria": 3}, "evaluation_criteria", "must be an object"),
        ({"evaluation_criteria": criteria({"name": 3})}, "evaluation_criteria.actions[0].name", ""),
        (
            {"evaluation_criteria": criteria({"name": "f", "compare_args": [3]})},
            "evaluation_criteria.actions[0].compare_args",
            "list of names",
        ),
        (
            {"evaluation_criteria": criteria({"name": "f", "requestor": "alien"})},
            "evaluation_criteria.actions[0].requestor",
            "none of assistant, user",
        ),
        (
            {"evaluation_criteria": {"env_assertions": [{"func_name": "f", "env_type": 3}]}},
            "evaluation_criteria.env_assertions[0].env_type",
            "none of assistant, user",
        ),
        (
            {"evaluation_criteria": {"env_assertions": [{"func_name": "f", "assert_value": "no"}]}},
            "evaluation_criteria.env_assertions[0].assert_value",
            "true or false, not 'no'",
        ),
        (
            {"evaluation_criteria": {"communicate_info": ["x", None]}},
            "evaluation_criteria.communicate_info[1]",
            "must be text, not NoneType",
        ),
        ({"verification_function": "x = 1"}, "verification_function", "defines no function"),
        (
            {"verification_function": "async def verify(episode): return 1"},
            "verification_function",
            "defines no function",
        ),
        ({"db_path": "databases/none.json"}, "db_path", "does not exist"),
        ({"db_path": "../databases/train_000.json"}, "db_path", "leaves the folder"),
        ({"db_path": "/etc/passwd"}, "db_path", "leaves the folder"),
        ({"db_path": "databases/%2e%2e/%2e%2e/x.json"}, "db_path", "plain relative path"),
        ({"db_path": "file:///etc/passwd"}, "db_path", "plain relative path"),
        ({"db_path": 3}, "db_path", "non-empty string"),
    ],
)
def test_bad_rows(check: Check, changes: dict[str, Any], field: str, reason: str) -> None:
    (problem,) = check(**changes)["problems"]
    assert (problem["line"], problem["field"]) == (2, field)
    assert reason in problem["reason"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.jsonl", b""), ("x.jsonl", b"\n\r\n"), ("x.jsonl.gz", gzip.compress(b""))],
)
def test_a_file_without_rows_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    assert main(["data", "check", str(tmp_path / name)]) == 1
    assert ": the file has no row" in capsys.readouterr().out


def test_what_the_users_side_begins_with_is_found_by_the_databases_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a job; what else lies there is none of its business."""
    world = generate_database(registry.get("telecom"), Size.SMALL, 0)
    (tmp_path / "x_db.json").write_text(json.dumps(world.agent))
    (tmp_path / "x_user_db.json").write_text("{")
    (tmp_path / "user_db.json").write_text(json.dumps(world.user))
    row = {"id": "telecom_1", "db_path": "x_db.json", "evaluation_criteria": {"actions": []}}
    (tmp_path / "rl.jsonl").write_text(json.dumps(row) + "\n")
    given = ["data", "check", str(tmp_path / "rl.jsonl"), "--databases", str(tmp_path)]
    assert main(given) == 1
    assert "The database user_db.json isn't valid JSON" in capsys.readouterr().out
    (tmp_path / "x_user_db.json").write_text(json.dumps(world.user))
    assert main(given) == 0


@pytest.mark.parametrize(
    ("arguments", "notes"),
    [
        ({"task_id": "task_1", "expected_status": "pending"}, 0),
        ({"task_id": "task_1", "expected_status": "completed"}, 1),
        ({"task_id": "task_1"}, 1),
        ({"task_id": "task_1", "expected_status": "pending", "state": 1}, 1),
    ],
)
def test_assertions_that_nobody_can_meet_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: dict[str, Any], notes: int
) -> None:
    tasks = {"task_1": {"task_id": "task_1", "title": "x", "description": "", "status": "pending"}}
    (tmp_path / "db.json").write_text(json.dumps({"tasks": tasks, "users": {}}))
    asked = {"func_name": "assert_task_status", "arguments": arguments}
    criteria = {"env_assertions": [asked], "reward_basis": ["ENV_ASSERTION"]}
    row = {"id": "mock_1", "db_path": "db.json", "evaluation_criteria": criteria}
    (tmp_path / "rl.jsonl").write_text(json.dumps(row) + "\n")
    command = ["data", "check", str(tmp_path / "rl.jsonl"), "--databases", str(tmp_path), "--json"]
    assert main(command) == 0
    (report,) = json.loads(capsys.readouterr().out)["files"]
    assert len(report["notes"]) == notes
    assert all("doesn't answer true" in note["note"] for note in report["notes"])


def test_a_task_without_criteria_is_told(check: Check) -> None:
    (note,) = check(evaluation_criteria=None)["notes"]
    assert "is missing or empty" in note["note"]


def test_a_link_out_of_the_root(check: Check, root: Path) -> None:
    outside = root.parent / f"{root.name}-outside.json"
    outside.write_text("{}")
    (root / "databases" / "out.json").symlink_to(outside)
    (problem,) = check(db_path="databases/out.json")["problems"]
    assert "is a link out of the folder" in problem["reason"]


@pytest.mark.parametrize(
    ("action", "note"),
    [
        ({"name": "teleport", "arguments": {}}, "teleport raises, and is kept: Error: Tool"),
        ({"name": "find_user", "arguments": {"mail": "x"}}, "find_user raises, and is kept"),
        ({"name": "find_user", "arguments": {"email": 3}}, "find_user raises, and is kept"),
        ({"name": "find_user", "arguments": {"email": "x" * 10**6}}, "find_user raises"),
    ],
)
def test_expected_actions_that_raise_are_kept_and_told(
    check: Check, action: dict[str, Any], note: str
) -> None:
    report = check(evaluation_criteria=criteria(action))
    assert report["problems"] == []
    (found,) = report["notes"]
    assert found["line"] == 2
    assert found["note"].startswith(f"evaluation_criteria.actions[0]: {note}")
    assert len(found["note"]) < 400


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.json", "{", "isn't valid JSON"),
        ("x.toml", "a = ", "isn't valid TOML"),
        ("x.json", "[]", "must be an object"),
        ("x.json", '{"users": {"a": {"name": NaN}}, "orders": {}, "desk": {}}', "NaN isn't a JSON"),
        ("x.json", '{"users": {"a": {"name": "\\ud800"}}}', "half of a surrogate pair"),
        ("x.json", "[" * 100000, "nested too deeply"),
        ("x.toml", "[users.a]\nage = nan", "or NaN"),
        ("x.json", '{"users": {}}', "has no table"),
        ("x.json", '{"users": {}, "orders": {}, "desk": {}, "x": {}}', "unknown table 'x'"),
    ],
)
def test_bad_databases(check: Check, root: Path, name: str, content: str, reason: str) -> None:
    (root / "databases" / name).write_text(content)
    (problem,) = check(db_path=f"databases/{name}")["problems"]
    assert problem["field"] == "db_path"
    assert reason in problem["reason"]


def test_what_windows_writes_is_read(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A byte order mark before the text, two characters behind each line."""
    for file in (root / "rl.jsonl", root / "databases" / "train_000.json"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert main(["data", "check", str(root / "rl.jsonl"), "--databases", str(root)]) == 0
    assert capsys.readouterr().out.endswith("rl.jsonl: 3 rows\nno problem found\n")


def test_packed_databases(check: Check, root: Path) -> None:
    plain = (root / "databases" / "train_000.json").read_bytes()
    (root / "databases" / "y.json.gz").write_bytes(gzip.compress(plain))
    assert check(db_path="databases/y.json.gz")["problems"] == []
    (root / "databases" / "y.json.gz").write_bytes(plain)
    (problem,) = check(db_path="databases/y.json.gz")["problems"]
    assert "damaged or ends too early" in problem["reason"]


def test_initial_data_that_do_not_fit_the_database(check: Check) -> None:
    state = {"initialization_data": {"agent_data": {"users": {"a@x": {"name": 3}}}}}
    (problem,) = check(initial_state=state)["problems"]
    assert problem["field"] == "initial_state"
    assert "is wrong at users.a@x.email: Field required" in problem["reason"]


def test_a_truncated_archive(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = gzip.compress((root / "rl.jsonl").read_bytes())
    (root / "rl.jsonl.gz").write_bytes(whole[:-20])
    for command in ("check", "stats"):
        assert main(["data", command, str(root / "rl.jsonl.gz")]) == 1
        assert "rl.jsonl.gz: its compressed data is damaged" in capsys.readouterr().err


def test_a_truncated_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = root / "rl.jsonl"
    file.write_bytes(file.read_bytes()[:-30])
    assert main(["data", "check", str(file)]) == 1
    assert f"{file}:3: row: isn't valid JSON" in capsys.readouterr().out


def test_a_million_characters_in_a_row_and_in_a_call() -> None:
    tables = shop_dataset.databases(Split.TRAIN, 1, seed=0)["databases/train_000.json"]
    domain = registry.get("shop")
    environment = domain.open(domain.parse(json.dumps(tables).encode(), "x.json"))
    huge = "x" * 10**6
    for name, arguments in [
        ("find_user", {"email": huge}),
        ("find_user", {huge: huge}),
        (huge, {}),
        ("change_address", {"order": "A1", "address": huge}),
    ]:
        result = environment.call(name, arguments)
        assert result.error
    task = rl.task({"id": "shop_1", "evaluation_criteria": criteria(
        {"name": "find_user", "arguments": {"email": huge}})})  # fmt: skip
    assert task.criteria.actions[0].arguments["email"] == huge
