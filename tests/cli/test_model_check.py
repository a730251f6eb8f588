"""`sea model check`: files of a folder, and differences of log-probabilities."""

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sea_cli import main, model_check
from sea_cli.model_scores import PROGRAMS, RESULT, Scores
from sea_testing.models import tiny_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, body in tiny_files().items():
        (tmp_path / name).write_bytes(body)
    return tmp_path


def test_the_files_of_a_whole_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "check", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "4 layers of 192, 8 experts" in said
    assert "every field is computed and every tensor is used" in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"num_hidden_layers": 3}, "has the tensor model.layers.3"),
        ({"vocab_size": 8}, "config.json and safetensors don't belong together"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(
    folder: Path, change: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = folder / "config.json"
    given = {**json.loads(config.read_text()), **change}
    config.write_text(json.dumps(given))
    assert main(["model", "check", str(folder)]) == 1
    assert words in capsys.readouterr().err


def test_a_folder_without_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "check", str(tmp_path)]) == 1
    assert "no config.json" in capsys.readouterr().err


def test_the_largest_difference_of_each_pair() -> None:
    scores = {"a": [[-1.0, -2.0], [-3.0]], "b": [[-1.0, -2.5], [-3.0]], "c": [[-1.0, -2.0], [-7.0]]}
    found = list(model_check.differences(scores))
    assert [(one.first, one.second, one.largest, one.row, one.token) for one in found] == [
        ("a", "b", 0.5, 0, 2),
        ("a", "c", 4.0, 1, 1),
        ("b", "c", 4.0, 1, 1),
    ]
    assert found[0].sentence().startswith("a and b: largest difference 0.5 (text 1, token 3)")


def test_what_is_no_number_is_infinitely_far_away() -> None:
    (found,) = model_check.differences({"a": [[-1.0, -9.0]], "b": [[math.nan, -1.0]]})
    assert (found.largest, found.token) == (math.inf, 1)


def programs(monkeypatch: pytest.MonkeyPatch, scores: dict[str, Scores | str]) -> None:
    """Each program's outcome: its scores, or what it says when it fails."""

    def run(arguments: list[str], **options: Any) -> Any:
        outcome = scores[arguments[-3]]
        if isinstance(outcome, str):
            return subprocess.CompletedProcess(arguments, 1, "", outcome)
        said = f"INFO: loading\n{RESULT}{json.dumps(outcome)}\n"
        return subprocess.CompletedProcess(arguments, 0, said, "")

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.parametrize(("trainer", "code"), [(-1.00001, 0), (-1.2, 1)])
def test_programs_are_compared(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    trainer: float,
    code: int,
) -> None:
    programs(monkeypatch, {"transformers": [[-1.0]], "trainer": [[trainer]], "engine": [[-1.0]]})
    assert main(["model", "check", str(folder), "--text", "Hello, where"]) == code
    said = capsys.readouterr().out
    assert "transformers and trainer: largest difference" in said
    assert "trainer and engine: largest difference" in said
    assert ("don't compute the same model" in said) is bool(code)


def test_one_that_fails_says_why(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs(monkeypatch, dict.fromkeys(PROGRAMS, "No module named 'megatron'"))
    assert main(["model", "check", str(folder), "--text", "Hello, where"]) == 1
    said = capsys.readouterr().err
    assert "leave it out with --of" in said
    assert "No module named 'megatron'" in said
