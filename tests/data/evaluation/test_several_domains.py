"""`sea evaluate` over several domains in one run: numbers of each, and their average."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sea_cli import main
from sea_data.formats import jsonl
from sea_env.domains import registry

CREATE = {"name": "create_task", "arguments": {"user_id": "user_1", "title": "Call Ann"}}
DATABASE = {
    "users": {"user_1": {"user_id": "user_1", "name": "Bo", "tasks": []}},
    "tasks": {},
}


@pytest.fixture
def mock_data(tmp_path: Path) -> Path:
    """Two tasks of mock in the published layout; its file is called as the shop's is."""
    data = tmp_path / "mock"
    data.mkdir()
    (data / "db.json").write_text(json.dumps(DATABASE))
    (data / "policy.md").write_text("Keep the tasks.")
    task = {
        "user_scenario": {"instructions": {"domain": "mock", "reason_for_call": "Call Ann."}},
        "evaluation_criteria": {"actions": [CREATE], "reward_basis": ["DB"]},
        "db_path": "db.json",
    }
    lines = [jsonl.dumps({"id": f"mock_{number}", **task}) for number in range(2)]
    (data / "rl_test.jsonl").write_text("\n".join(lines) + "\n")
    return data


@pytest.fixture
def arguments(server: Any, shop_data: Path, mock_data: Path, tmp_path: Path) -> list[str]:
    server.fault = lazy_at_mock
    return [
        "evaluate", "--endpoint", server.url, "--model", "teacher", "--domain", "shop", "mock",
        "--data", str(shop_data), str(mock_data), "--out", str(tmp_path / "out"), "--trials", "2",
        "--timeout", "20", "--retries", "1", "--attempts", "1", "--max-turns", "12",
    ]  # fmt: skip


async def lazy_at_mock(request: web.Request, _: Any) -> web.Response | None:
    """The shop is served by its teacher; at mock nobody does anything."""
    tools = {tool["function"]["name"] for tool in (await request.json())["tools"]}
    if tools != {tool.name for tool in registry.get("mock").tools}:
        return None
    return web.json_response({"choices": [{"message": {"content": "Goodbye."}}]})


def results(out: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((out / "scores.json").read_text())
    return {item["domain"]: item for item in found["results"]}


def played(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]


def test_each_domain_has_its_numbers_and_the_average_is_their_mean(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of both folders are `rl_test.jsonl:1`; no episode is taken for another domain's."""
    out = tmp_path / "out"
    assert main(arguments) == 0
    found = results(out)
    assert list(found) == ["mock", "shop", "average"]
    assert [found[name]["episodes"] for name in found] == [4, 12, 16]
    assert [found[name]["passHat2"] for name in found] == [0.0, 100.0, 50.0]
    assert {line["row"] for line in played(out) if line["domain"] == "mock"} <= {
        line["row"] for line in played(out) if line["domain"] == "shop"
    }
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines() if line.endswith(" -")] == list(found)
    page = (out / "report.html").read_text()
    assert "pass^1, average over domains" in page
    assert all(f"<h3>{name}" in page for name in found), "a card of bars each"
    again = tmp_path / "again.html"
    assert main(["report", str(out), "--out", str(again)]) == 0
    assert "16 episodes" in capsys.readouterr().out
    assert "<b>50.0</b>" in again.read_text()


def test_it_goes_on_where_it_stopped(
    server: Any, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(arguments) == 0
    lines = (out / "episodes.jsonl").read_text().splitlines(keepends=True)
    gone = [line for line in lines if json.loads(line)["domain"] == "mock"][1]
    (out / "episodes.jsonl").write_text("".join(line for line in lines if line != gone))
    asked = len(server.requests)
    assert main([*arguments, "--resume"]) == 0
    assert 0 < len(server.requests) - asked <= 12, "one episode, not sixteen"
    assert len(played(out)) == 16
    assert main([*arguments, "--resume", "--domain", "shop", "--data", arguments[9]]) == 1
    assert "with domain 'shop, mock', not 'shop'" in capsys.readouterr().err


def test_one_folder_for_all(
    arguments: list[str], shop_data: Path, mock_data: Path, tmp_path: Path
) -> None:
    """A folder a domain in it; and `--max-tasks` is of each domain."""
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "shop").symlink_to(shop_data)
    (tmp_path / "all" / "mock").symlink_to(mock_data)
    assert main([*arguments, "--data", str(tmp_path / "all"), "--max-tasks", "1"]) == 0
    assert {name: item["tasks"] for name, item in results(tmp_path / "out").items()} == {
        "mock": 1, "shop": 1, "average": 2,
    }  # fmt: skip


def test_one_file_whose_rows_name_their_domain(
    arguments: list[str], shop_data: Path, mock_data: Path, tmp_path: Path
) -> None:
    merged = tmp_path / "rl_merge.jsonl"
    files = [folder / "rl_test.jsonl" for folder in (mock_data, shop_data)]
    merged.write_text("".join(file.read_text() for file in files))
    assert main([*arguments, "--tasks", str(merged), "--trials", "1"]) == 0
    found = results(tmp_path / "out")
    assert [found[name]["tasks"] for name in found] == [2, 6, 8]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--domain", "shop", "shop"], "The domain shop is named twice"),
        (["--domain", "shop", "retail"], "has no task of the domain retail"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_asked(
    server: Any,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    sentence: str,
) -> None:
    assert main([*arguments, *change]) == 1
    assert sentence in capsys.readouterr().err
    assert not server.requests


@pytest.mark.parametrize("option", ["data", "tasks"])
def test_places_that_belong_to_no_domain(
    arguments: list[str], capsys: pytest.CaptureFixture[str], option: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, f"--{option}", "a", "b", "c"])
    assert caught.value.code == 2
    assert f"--{option} names 3 places for 2 domains" in capsys.readouterr().err
