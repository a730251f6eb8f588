"""`sea replay` and `sea report`: what a file holds, and whether the world still answers so."""

import json
from pathlib import Path
from typing import Any

import pytest

from sea_cli import main
from sea_data.evaluation.rerun import same


@pytest.fixture
def evaluated(server: Any, shop_data: Path, tmp_path: Path) -> Path:
    """A folder with twelve episodes."""
    out = tmp_path / "evaluated"
    arguments = ["--endpoint", server.url, "--model", "m", "--trials", "2", "--out", str(out)]
    assert main(["evaluate", *arguments, "--domain", "shop", "--data", str(shop_data)]) == 0
    return out


def changed(folder: Path, change: Any) -> Path:
    """A copy of the episodes with the first one changed."""
    rows = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    change(rows[0])
    copy = folder / "changed.episodes.jsonl"
    copy.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return copy


def test_all_calls_answer_as_they_did(
    evaluated: Path, shop_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    episodes = str(evaluated / "episodes.jsonl")
    assert main(["replay", episodes, "--all"]) == 0
    assert ", 0 answer differently" in capsys.readouterr().out
    assert main(["replay", episodes, "--all", "--data", str(shop_data)]) == 0
    assert "12 episodes" in capsys.readouterr().out
    assert main(["replay", episodes]) == 0
    assert "choose one with --number" in capsys.readouterr().out


def test_a_changed_answer_is_shown(evaluated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def forge(row: dict[str, Any]) -> None:
        (result, *_) = [m for m in row["transcript"] if m["role"] == "tool"]
        result["content"] = '{"name": "Forged \\u001b[2J"}'
        row["transcript"][0]["content"] = "\x1b]0;title\x07[bold]Hi[/bold]"

    copy = str(changed(evaluated, forge))
    assert main(["replay", copy, "--number", "1"]) == 1
    out = capsys.readouterr().out
    assert "differs  find_user" in out
    assert "Forged" in out
    assert "\x1b]0;" not in out, "a model's text never reaches the terminal as a command"
    assert "[bold]Hi[/bold]" in out, "nor as markup"
    assert main(["replay", copy, "--all"]) == 1
    assert "1 answer differently" in capsys.readouterr().out


def test_published_dialogues_are_replayed(
    shop_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = shop_data / "sft.jsonl"
    assert main(["replay", str(rows)]) == 0
    assert "The tool calls were not made again." in capsys.readouterr().out
    database = next((shop_data / "databases").glob("train*"))
    assert main(["replay", str(rows), "--database", str(database)]) in {0, 1}
    assert "calls answer as they did" in capsys.readouterr().out
    document = tmp_path / "messages.json"
    document.write_text(json.dumps(json.loads(rows.read_text().splitlines()[0])["messages"]))
    assert main(["replay", str(document), "--domain", "shop"]) == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "holds no dialogue"),
        ("{", "isn't valid JSON"),
        ('{"a": 1}', "neither an episode nor a dialogue"),
        ('{"domain": "shop", "reward": 1, "transcript": [3]}', "transcript[0]: must be a message"),
        ('{"messages": [{"role": "user"}]}\n\xff', "UTF-8"),
    ],
)
def test_files_that_hold_something_else(
    content: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(content.encode("latin-1"))
    assert main(["replay", str(file)]) == 1
    assert sentence in capsys.readouterr().err
    assert main(["replay", str(tmp_path / "nowhere")]) == 1


@pytest.mark.parametrize(
    ("before", "now", "equal"),
    [("a", "a", True), ('{"a":1,"b":2}', '{"b": 2, "a": 1.0}', True), ("a", "b", False),
     ('{"a":1}', '{"a":2}', False), ("Error: x", "{}", False)],
)  # fmt: skip
def test_answers_are_compared_by_value(before: str, now: str, equal: bool) -> None:
    assert same(before, now) == equal


def test_a_report_from_a_folder_or_a_file(
    evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "new" / "page.html"
    assert main(["report", str(evaluated), "--out", str(page), "--title", "My model"]) == 0
    assert "12 episodes" in capsys.readouterr().out
    assert "My model" in page.read_text()
    assert main(["report", str(evaluated / "episodes.jsonl"), "--out", str(page)]) == 0


def test_a_report_from_a_jobs_folder(
    evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two stages: one is to be named; the older one and the curve are in the page."""
    run = tmp_path / "run"
    (run / "evaluation").mkdir(parents=True)
    (run / "reports").mkdir()
    rows = [{"stage": "rl", "step": n, "metrics": {"reward": n / 9}} for n in range(9)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (run / "reports" / "metrics.jsonl").write_text(lines)
    for version, stage in ((1, "eval-sft"), (9, "eval-rl")):
        scores = json.loads((evaluated / "scores.json").read_text())
        body = {**scores, "stage": stage, "policyVersion": version}
        for result in body["results"]:
            result["stage"] = stage
        (run / "evaluation" / f"{stage}.json").write_text(json.dumps(body))
        episodes = (evaluated / "episodes.jsonl").read_text()
        (run / "evaluation" / f"{stage}.episodes.jsonl").write_text(episodes)
    page = tmp_path / "page.html"
    assert main(["report", str(run), "--out", str(page)]) == 1
    assert "choose one of eval-rl, eval-sft with --stage" in capsys.readouterr().err
    assert main(["report", str(run), "--out", str(page), "--stage", "eval-rl"]) == 0
    text = page.read_text()
    assert "points since eval-sft" in text
    assert "mean over the step" in text
    assert main(["report", str(run), "--out", str(page), "--stage", "eval-sft"]) == 0
    assert "points since" not in page.read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"expected": {"actions": 1, "communicate": 1.5}},
        {"expected": {"actions": [{"name": "f", "compare_args": [[]], "requestor": []}]}},
        {"transcript": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{}"}]}]},
        {"transcript": [{"role": "assistant", "tool_calls": [{}]}], "request": []},
    ],
)
def test_a_page_takes_whatever_a_file_says(change: dict[str, Any], tmp_path: Path) -> None:
    expected = {"actions": [{"name": "f", "arguments": {}}]}
    row = {"domain": "shop", "row": "f:1", "reward": 0, "expected": expected, **change}
    (tmp_path / "episodes.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "scores.json").write_text('{"settings": [1]}')
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "x.html")]) == 0
    assert main(["replay", str(tmp_path / "episodes.jsonl"), "--number", "1"]) in {0, 1}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "x"}], "answer": "x"},
        {"messages": [{"role": "user", "content": "x", "tool_calls": "x"}]},
        {"messages": ["x"]},
    ],
)
def test_a_dialogue_that_is_none_is_told(
    row: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps(row) + "\n")
    assert main(["replay", str(tmp_path / "x.jsonl"), "--domain", "shop"]) == 1
    assert "transcript[" in capsys.readouterr().err


def test_no_report_from_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "x.html")]) == 1
    assert "has no evaluation" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "no"), "--out", str(tmp_path / "x.html")]) == 1
    assert capsys.readouterr().err == f"sea: {tmp_path / 'no'}: does not exist\n"
    (tmp_path / "episodes.jsonl").touch()
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "x.html")]) == 1
    assert "episodes.jsonl: holds no episode" in capsys.readouterr().err
