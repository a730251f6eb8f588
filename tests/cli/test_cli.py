"""The `sea` command: what it writes, what it says, how it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from sea_cli import main
from sea_testing.waiting import HANG_S


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shop")
    sizes = ["--dialogues", "60", "--train-tasks", "40", "--test-tasks", "20"]
    assert main(["data", "shop", "--out", str(out), *sizes]) == 0
    return out


def test_generated_files_pass_the_check(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(path) for path in sorted(data.glob("*.jsonl"))]
    assert len(files) == 4
    assert main(["data", "check", *files]) == 0
    assert "no problem found" in capsys.readouterr().out
    assert not list(data.rglob("*.partial"))


def test_bad_rows_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rl.jsonl"
    file.write_text('{"id": "shop_1"}\n{\n{"id": "mars_1"}\n{"id": "shop_2", "db_path": "/x"}\n')
    assert main(["data", "check", str(file)]) == 1
    noted, *out = capsys.readouterr().out.splitlines()
    assert noted.startswith(f"{file}:1: note: evaluation_criteria: is missing or empty")
    assert out[0].startswith(f"{file}:2: row: isn't valid JSON")
    assert out[1].startswith(f"{file}:3: user_scenario.instructions.domain: There is no domain")
    assert out[2] == f"{file}:4: db_path: '/x' leaves the folder of the databases"
    assert out[-1] == "3 bad rows"


def test_databases_are_looked_for(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = str(data / "rl_test.jsonl")
    assert main(["data", "check", tasks, "--databases", str(data)]) == 0
    assert main(["data", "check", tasks, "--databases", str(data / "databases")]) == 0
    assert main(["data", "check", tasks, "--databases", str(tmp_path)]) == 1
    assert "test_000.json' does not exist" in capsys.readouterr().out
    (tmp_path / "databases").symlink_to(data / "databases")
    assert main(["data", "check", tasks, "--databases", str(tmp_path)]) == 1
    assert "is a link out of the folder" in capsys.readouterr().out


def test_a_model_and_its_token_counts(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "tiny"
    files = [str(data / "sft.jsonl"), str(data / "user_sft.jsonl")]
    assert main(["model", "tiny", "--data", *files, "--out", str(model)]) == 0
    assert (model / "model.safetensors").is_file()
    capsys.readouterr()
    tasks = str(data / "rl_train.jsonl")
    assert main(["data", "stats", *files, tasks, "--tokenizer", str(model)]) == 0
    out = capsys.readouterr().out
    assert "user: tokens per dialogue" in out
    assert "tasks of shop" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data", "check", "nowhere.jsonl"], "sea: nowhere.jsonl: No such file"),
        (["data", "replay", "--domain", "mars", "--data", "."], "There is no domain 'mars'"),
        (["data", "replay", "--domain", "retail", "--data", "nowhere"], "no db.json or db.toml"),
        (["data", "stats", "."], "sea: .: is a folder: name a file in it."),
        (["data", "check", "."], "sea: .: is a folder: name a file in it."),
        (["model", "tiny", "--data", "nowhere", "--out", "x"], "sea: nowhere: No such file"),
    ],
)
def test_errors_are_sentences(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert sentence in capsys.readouterr().err


SYNTH = ["synth", "--domain", "shop", "--out", "x"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["data"],
        ["data", "nope"],
        ["data", "shop"],
        ["data", "shop", "--out", "x", "--train-databases", "0"],
        ["data", "shop", "--out", "x", "--dialogues", "-1"],
        ["data", "stats", "x", "--context-length", "0"],
        [*SYNTH, "--count", "0"],
        [*SYNTH, "--endpoint", "localhost:8000", "--model", "m"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S
    )


@pytest.mark.component
def test_ctrl_c_while_libraries_load_is_no_traceback() -> None:
    code = (
        "import builtins, sys\n"
        "from sea_cli import main\n"
        "load = builtins.__import__\n"
        "def interrupted(name, *more):\n"
        "    if name == 'rich.progress': raise KeyboardInterrupt\n"
        "    return load(name, *more)\n"
        "builtins.__import__ = interrupted\n"
        "sys.exit(main(['data', '--help']))"
    )
    ended = python(code)
    assert (ended.returncode, ended.stderr) == (130, "\nsea: interrupted.\n")


@pytest.mark.component
def test_no_heavy_library_is_imported() -> None:
    code = (
        "import sys, sea_cli.app, sea_env.users.model,"
        "sea_env.users.openai_chat,"
        "sea_env.episodes.episode\n"
        "print([m for m in ('torch', 'transformers', 'vllm') if m in sys.modules])"
    )
    done = python(code)
    assert done.stdout.strip() == "[]", done.stderr
