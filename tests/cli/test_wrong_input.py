"""Whatever a file holds: every command ends with a sentence, never with a traceback."""

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sea_cli import main
from sea_cli.app import parser

ENDPOINT = ["--endpoint", "http://127.0.0.1:9/v1", "--model", "m", "--retries", "1"]
CONTENTS = {
    "empty": b"",
    "blank": b"\n\n",
    "binary": b"\x00\xff\xfe" * 40,
    "utf-16": '{"id": "a"}\n'.encode("utf-16"),
    "text": b"Hello.\n",
    "null": b"null\n",
    "number": b"7\n",
    "list": b"[1]\n",
    "list of objects": b"[{}]\n",
    "object": b"{}\n",
    "nested": b"[" * 5000 + b"]" * 5000,
    "huge": b'{"id": ' + b"9" * 400 + b"}\n",
    "wrong types": b'{"messages": 1, "answer": 2, "metadata": [], "id": {}, "model_type": [], '
    b'"evaluation_criteria": "{", "kind": 3, "apiVersion": [], "spec": 4, "tasks": {}}\n',
}
FILES = {
    "job check": ["job", "check", "FILE"],
    "plan": ["plan", "FILE"],
    "plan --metrics": ["plan", "JOB", "--metrics", "FILE"],
    "data check": ["data", "check", "FILE"],
    "data fix": ["data", "fix", "FILE", "--out", "OUT"],
    "data stats": ["data", "stats", "FILE"],
    "replay": ["replay", "FILE"],
    "replay --all": ["replay", "FILE", "--all", "--domain", "shop"],
    "replay --database": ["replay", "EPISODES", "--all", "--domain", "shop", "--database", "FILE"],
    "report": ["report", "FILE", "--out", "OUT"],
    "model tiny": ["model", "tiny", "--data", "FILE", "--out", "OUT"],
}
FOLDERS = {
    "data replay": ["data", "replay", "--domain", "retail", "--data", "FOLDER"],
    "data tau2": ["data", "tau2", "--domain", "telecom", "--data", "FOLDER", "--out", "OUT"],
    "data stats --tokenizer": ["data", "stats", "EPISODES", "--tokenizer", "FOLDER"],
    "model check": ["model", "check", "FOLDER"],
    "play": ["play", "mock", "1", "--data", "FOLDER"],
    "report": ["report", "FOLDER", "--out", "OUT"],
    "evaluate": ["evaluate", *ENDPOINT, "--domain", "shop", "--data", "FOLDER", "--out", "OUT"],
    "synth": ["synth", "--domain", "mock", "--data", "FOLDER", "--out", "OUT", "--count", "1"],
}
NAMES = (
    "db.json", "db.toml", "user_db.json", "tasks.json", "policy.md", "rl_test.jsonl", "sft.jsonl",
    "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
    "generation_config.json", "model.safetensors", "scores.json", "episodes.jsonl",
)  # fmt: skip
"""Whatever a command looks for in a folder."""
EPISODE = (
    b'{"messages": [{"role": "user", "content": "U"}], "answer": {"content": "A"}, "metadata": {}}'
)


def ends_with_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, given: Path
) -> int:
    """The exit code, after a look at what was shown."""
    (tmp_path / "episodes-of-the-test.jsonl").write_bytes(EPISODE)
    examples = Path(__file__).parents[2] / "examples"
    places = {
        "FILE": given,
        "FOLDER": given,
        "OUT": tmp_path / "out",
        "EPISODES": tmp_path / "episodes-of-the-test.jsonl",
        "JOB": examples / "areal-sea-235b.yaml",
    }
    try:
        code = main([str(places.get(one, one)) for one in arguments])
    except SystemExit as error:  # argparse's own way
        code = int(str(error.code))
    shown = capsys.readouterr()
    assert "Traceback" not in shown.out + shown.err
    assert code in (0, 1, 2)
    assert code == 0 or (shown.out + shown.err).strip(), "an error without a word"
    return code


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("command", FILES)
def test_a_wrong_file(
    command: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "rows.toml" if command == "replay --database" else "rows.jsonl"
    (tmp_path / name).write_bytes(CONTENTS[content])
    assert ends_with_a_sentence(FILES[command], capsys, tmp_path, tmp_path / name) != 0


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("command", FOLDERS)
def test_a_folder_of_wrong_files(
    command: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes(CONTENTS[content])
    assert ends_with_a_sentence(FOLDERS[command], capsys, tmp_path, folder) != 0


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model's folder and a domain's data, both without a fault."""
    root = tmp_path_factory.mktemp("good")
    sizes = ["--dialogues", "4", "--train-tasks", "2", "--test-tasks", "2"]
    assert main(["data", "shop", "--out", str(root / "shop"), *sizes]) == 0
    rows = str(root / "shop" / "sft.jsonl")
    assert main(["model", "tiny", "--data", rows, "--out", str(root / "model")]) == 0
    assert main(["data", "world", "--domain", "mock", "--out", str(root / "mock")]) == 0
    task = {"id": "1", "user_scenario": {"instructions": "Ask."}, "evaluation_criteria": None}
    (root / "mock" / "tasks.json").write_text(json.dumps([task]))
    return {"model": root / "model", "mock": root / "mock"}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(
    ("folder", "arguments"),
    [
        ("model", ["model", "check", "FOLDER"]),
        ("model", ["data", "stats", "EPISODES", "--tokenizer", "FOLDER"]),
        ("mock", ["data", "replay", "--domain", "mock", "--data", "FOLDER"]),
        ("mock", ["data", "tau2", "--domain", "mock", "--data", "FOLDER", "--out", "OUT"]),
        ("mock", ["synth", "--domain", "mock", "--data", "FOLDER", "--out", "OUT", "--count", "1"]),
    ],
    ids=["model check", "data stats", "data replay", "data tau2", "synth"],
)
def test_one_wrong_file_among_good_ones(
    folder: str, arguments: list[str], content: str, good: dict[str, Path],
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for number, name in enumerate(sorted(path.name for path in good[folder].iterdir())):
        place = tmp_path / str(number)
        copy = shutil.copytree(good[folder], place / "folder")
        (copy / name).write_bytes(CONTENTS[content])
        ends_with_a_sentence(arguments, capsys, place, copy)


@pytest.mark.parametrize("command", [*FILES, *FOLDERS])
def test_nothing_there_and_a_folder_for_a_file(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = FILES.get(command) or FOLDERS[command]
    assert ends_with_a_sentence(arguments, capsys, tmp_path, tmp_path / "nowhere") != 0
    (tmp_path / "folder").mkdir()
    ends_with_a_sentence(arguments, capsys, tmp_path, tmp_path / "folder")


@pytest.mark.parametrize(
    "metrics",
    [
        {"trajectories": -1, "tokens": 5, "generated_tokens": 1},
        {"trajectories": 4, "tokens": 50000, "generated_tokens": 5, "samples": 0},
        {"trajectories": 4, "tokens": 50000, "generated_tokens": 5, "skipped_fraction": 3},
    ],
)
def test_metrics_that_no_run_has(
    metrics: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(json.dumps({"metrics": metrics}))
    assert ends_with_a_sentence(FILES["plan --metrics"], capsys, tmp_path, file) != 0


def leaves(found: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    groups = [one for one in found._actions if isinstance(one, argparse._SubParsersAction)]
    if not groups:
        yield path
    for name, below in groups[0].choices.items() if groups else ():
        yield from leaves(below, (*path, name))


@pytest.mark.parametrize("path", list(leaves(parser())), ids=" ".join)
def test_every_commands_help_says_what_it_is_for(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*path, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "example" in shown, "an example says more than a list of options"
    assert shown.count("\n") > 8
