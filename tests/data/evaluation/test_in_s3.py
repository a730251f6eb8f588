"""`sea evaluate` and `sea play` on data that lie in a real S3 server."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from sea_cli import main
from sea_runtime.store.folders import upload_folder
from sea_runtime.store.s3 import ObjectStore

pytestmark = pytest.mark.component
ADDRESS = "s3://data/evaluated/shop"
TASKS = "s3://data/evaluated-elsewhere/three.jsonl.gz"


@pytest.fixture(autouse=True)
def uploaded(store: ObjectStore, shop_data: Path) -> None:
    upload_folder(store, shop_data, ADDRESS)
    lines = (shop_data / "rl_test.jsonl").read_bytes().splitlines(keepends=True)
    store.put(TASKS, gzip.compress(b"".join(lines[:3])))


def test_an_evaluation(server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its episodes name the databases' addresses, so that their calls can be made again."""
    out = tmp_path / "out"
    agent = ["--endpoint", server.url, "--model", "teacher", "--trials", "1"]
    given = ["evaluate", *agent, "--domain", "shop", "--data", ADDRESS, "--out", str(out)]
    assert main([*given, "--tasks", TASKS]) == 0
    (found, _) = json.loads((out / "scores.json").read_text())["results"]
    assert (found["tasks"], found["passHat1"]) == (3, 100.0)
    lines = [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]
    assert all(line["database"].startswith(f"{ADDRESS}/databases/") for line in lines)
    assert {line["row"].partition(":")[0] for line in lines} == {"three.jsonl.gz"}
    capsys.readouterr()
    assert main(["replay", str(out / "episodes.jsonl"), "--all"]) == 0
    assert "3 episodes" in capsys.readouterr().out
    assert main([*given, "--tasks", "s3://data/nowhere.jsonl", "--resume"]) == 1
    assert "s3://data/nowhere.jsonl: does not exist" in capsys.readouterr().err


def test_a_dialogue_in_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("/policy\nGoodbye.\n/quit\n"))
    assert main(["play", "shop", "3", "--data", ADDRESS, "--tasks", TASKS]) == 1
    assert "you are the agent" in capsys.readouterr().out
    assert main(["play", "shop", "4", "--data", ADDRESS, "--tasks", TASKS]) == 1
    assert "a number from 1 to 3" in capsys.readouterr().err
