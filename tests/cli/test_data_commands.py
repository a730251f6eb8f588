"""`sea data check` and `sea data stats`: JSON, packed files, progress, help, errors."""

import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from sea_cli import main
from sea_cli.progress import reading
from sea_testing.models import REFUSES, put_tiny_model


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shop")
    sizes = ["--dialogues", "20", "--train-tasks", "10", "--test-tasks", "4"]
    assert main(["data", "shop", "--out", str(out), *sizes]) == 0
    for name in ("sft.jsonl", "rl_train.jsonl"):
        (out / f"{name}.gz").write_bytes(gzip.compress((out / name).read_bytes()))
    sft = [str(out / "sft.jsonl"), str(out / "user_sft.jsonl")]
    assert main(["model", "tiny", "--data", *sft, "--out", str(out / "tiny")]) == 0
    return out


def test_packed_files_count_like_plain_ones(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("sft.jsonl", "rl_train.jsonl"):
        found = []
        for file in (data / name, data / f"{name}.gz"):
            options = ["--tokenizer", str(data / "tiny"), "--context-length", "512", "--json"]
            capsys.readouterr()
            assert main(["data", "stats", str(file), *options]) == 0
            found.append(json.loads(capsys.readouterr().out)[str(file)])
        assert found[0] == found[1]
    assert found[0]["rows"] == 10


def test_where_every_token_goes(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(data / "sft.jsonl")
    counts = {}
    for context in ("512", "60"):
        options = ["--tokenizer", str(data / "tiny"), "--context-length", context, "--json"]
        assert main(["data", "stats", file, *options]) == 0
        counts[context] = json.loads(capsys.readouterr().out)[file]
    whole, cut = counts["512"], counts["60"]
    assert whole["agent: tokens over the length"] == 0
    lost = cut["agent:   of these, answer tokens"]
    assert lost > 0
    assert cut["agent: answer tokens"] + lost == whole["agent: answer tokens"]
    assert whole["agent: packed into sequences"] < whole["dialogues"] == 20


def test_a_file_is_what_its_first_good_row_says(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sft.jsonl"
    file.write_bytes(b'{"messages": [\n' + (data / "sft.jsonl").read_bytes())
    assert main(["data", "stats", str(file), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)[str(file)]
    assert (counts["rows"], counts["bad rows"], counts["dialogues"]) == (21, 1, 20)


NO_ROW = '{"x": 1}\n'
"""A row that is neither a dialogue nor a task."""


def test_dialogues_that_the_model_refuses_are_named_and_the_others_counted(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stats ended at the first; check said nothing of a model before training refused the row."""
    put_tiny_model(FolderStore(), str(tmp_path), REFUSES)
    lines = (data / "sft.jsonl").read_text().splitlines()[:4]
    for number in (1, 2):
        row = json.loads(lines[number])
        row["messages"].insert(2, {"role": "system", "content": "Be brief."})
        lines[number] = json.dumps(row)
    file = tmp_path / "sft.jsonl"
    file.write_text("\n".join(lines))
    options = [str(file), "--tokenizer", str(tmp_path), "--json"]
    assert main(["data", "stats", *options]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)[str(file)]
    assert found["agent: refused dialogues"] == 2
    assert found["user: refused dialogues"] == 0, "the user's side has none of them"
    assert found["agent: answer tokens"] > 0
    assert err.count("messages[2]: is a system message after the first") == 2
    assert main(["data", "check", *options]) == 1
    problems = json.loads(capsys.readouterr().out)["files"][0]["problems"]
    assert [one["line"] for one in problems] == [2, 3]
    assert main(["data", "check", str(file)]) == 0
    assert "messages[2] can't train models whose chat template" in capsys.readouterr().out


class FolderStore:
    def put(self, url: str, body: bytes) -> None:
        Path(url).write_bytes(body)


@pytest.mark.parametrize(("command", "some_bad"), [("check", 1), ("fix", 1), ("stats", 0)])
def test_exit_codes_of_files_with_bad_rows(
    command: str, some_bad: int, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """check and fix: 1 if a bad row is left. stats counts them: 1 where nothing else is."""
    file = tmp_path / "rows.jsonl"
    out = ["--out", str(tmp_path / "out.jsonl")] if command == "fix" else []
    for name in ("sft.jsonl", "rl_train.jsonl"):
        rows = (data / name).read_text()
        for content, code in ((rows, 0), (NO_ROW + rows, some_bad), (NO_ROW, 1), ("\n", 1)):
            file.write_text(content)
            assert main(["data", command, str(file), *out]) == code
            shown = capsys.readouterr()
            assert code == 0 or str(file) in shown.out + shown.err


def test_a_folder_all_of_whose_tasks_need_a_judge_makes_no_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mock"
    arguments = ["data", "tau2", "--domain", "mock", "--data", str(folder), "--out", str(tmp_path)]
    assert main(["data", "world", "--domain", "mock", "--size", "small", "--out", str(folder)]) == 0
    criteria = {"nl_assertions": ["It is polite."], "reward_basis": ["NL_ASSERTION"]}
    instructions = {"domain": "mock", "reason_for_call": "x", "task_instructions": "x"}
    task = {"id": "1", "user_scenario": {"instructions": instructions}}
    (folder / "tasks.json").write_text(json.dumps([{**task, "evaluation_criteria": criteria}]))
    assert main(arguments) == 1
    assert "1 tasks left out, the first because: " in capsys.readouterr().out
    assert main([*arguments, "--judge"]) == 0


def test_a_check_as_json(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(data / "rl_train.jsonl.gz")
    assert main(["data", "check", file, "--databases", str(data), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["bad_rows"] == 0
    assert report["files"] == [{"file": file, "rows": 10, "problems": [], "notes": []}]


def test_a_check_can_be_told_that_there_is_a_judge(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = json.loads((data / "rl_train.jsonl").read_text().splitlines()[0])
    criteria = {"nl_assertions": ["It is polite."], "reward_basis": ["DB", "NL_ASSERTION"]}
    file = tmp_path / "rl.jsonl"
    file.write_text(json.dumps(row | {"evaluation_criteria": json.dumps(criteria)}) + "\n")
    assert main(["data", "check", str(file)]) == 1
    said = capsys.readouterr().out
    assert f"{file}:1: evaluation_criteria: " in said
    assert "--judge of `sea data check`" in said
    assert main(["data", "check", str(file), "--judge", "--databases", str(data)]) == 0
    assert "no problem found" in capsys.readouterr().out


@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_of_tasks_is_no_file_of_rows(
    tmp_path: Path, indent: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """tau2-bench's tasks.json: one hint, not an error a line."""
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps([{"id": "1"}, {"id": "2"}], indent=indent))
    assert main(["data", "check", str(file)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"{file}: is one JSON list, not one object a line.")
    assert "`sea data replay --domain" in out[0]
    assert "`sea data tau2`" in out[0]
    assert out[-1] == "1 bad row"


@pytest.mark.parametrize("command", ["check", "stats"])
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["data", command, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.count(f"sea data {command} ") >= 2
    assert "--json" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data", "stats", "nowhere.jsonl"], "sea: nowhere.jsonl: No such file"),
        (["data", "check", "s3:///x"], "is not an S3 address"),
        (["data", "stats", "FILE", "--tokenizer", "nowhere"], "nowhere holds no tokenizer.json"),
        (["data", "check", "FILE", "--tokenizer", "nowhere"], "nowhere holds no tokenizer.json"),
        (["data", "stats", "FILE", "--tokenizer", "BROKEN"], "tokenizer.json can't be read"),
        (["model", "tiny", "--out", "NEW"], "no usable dialogue to fit the tokenizer to"),
        (
            ["model", "tiny", "--out", "NEW", "--data", "EMPTY"],
            "empty.jsonl: there is no usable",
        ),
    ],
)
def test_errors_are_sentences(
    data: Path,
    tmp_path: Path,
    arguments: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    places = {"FILE": str(data / "sft.jsonl"), "BROKEN": str(tmp_path)}
    places |= {"EMPTY": str(tmp_path / "empty.jsonl"), "NEW": str(tmp_path / "new")}
    (tmp_path / "empty.jsonl").write_text("\n")
    assert main([places.get(argument, argument) for argument in arguments]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_person_sees_a_bar_and_a_pipe_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, seen in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with reading("rows") as advance:
            advance(5, 10)
        assert ("rows" in stream.getvalue()) == seen
