"""What `--job` names is checked before a cluster starts for it; its data is made or asked for."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sea_devcluster.demo import job, main
from sea_devcluster.demo.options import ROOT, parse
from sea_devcluster.errors import DemoError

TINY = (ROOT / "examples" / "tiny.yaml").read_text()
MANIFEST = {"spec": {"storage": {"url": "s3://runs/tiny"}}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: [", "is not one YAML document"),
        ("a: 1\n---\nb: 2\n", "is not one YAML document"),
        ("", "holds no SEATrainingJob"),
        ("- kind: SEATrainingJob\n", "holds no SEATrainingJob"),
        (TINY.replace("SEATrainingJob", "Job", 1), "holds no SEATrainingJob"),
        (TINY.replace("    credentialsSecret: s3-credentials\n", ""), "credentialsSecret"),
        ("kind: SEATrainingJob\nspec: 3\n", "lacks metadata.name, spec.stages, spec.domains"),
    ],
)
def test_a_file_that_is_no_job_starts_nothing(
    text: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = tmp_path / "job.yaml"
    file.write_text(text)
    assert main.demo(parse(["--plain", "--job", str(file)])) is None
    said = capsys.readouterr().out
    assert words in said
    assert str(file) in said
    assert not (tmp_path / "state").exists()


def test_a_folder_is_no_job(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"can't be read .*; name a job's file\.$"):
        job.read(tmp_path)


def test_a_folder_that_cannot_be_made_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: the error came after the training."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "out").write_text("a file")
    assert main.demo(parse(["--plain", "--out", str(tmp_path / "out")])) is None
    assert "name another with --out" in capsys.readouterr().out
    assert not (tmp_path / "state").exists()


def test_data_that_the_demo_cannot_make_are_asked_for() -> None:
    manifest = yaml.safe_load((ROOT / "examples" / "retail.yaml").read_text())
    with pytest.raises(DemoError, match="--data"):
        job.require_data(manifest, None)
    job.require_data(manifest, Path("out"))


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "examples").glob("*.yaml")))
def test_the_examples_are_jobs(name: str) -> None:
    manifest: dict[str, Any] = job.read(ROOT / "examples" / f"{name}.yaml")
    assert manifest["metadata"]["name"]


def test_data_that_are_never_made_are_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: it ended the demo with a traceback."""
    sea = tmp_path / "sea"
    sea.write_text("#!/bin/sh\nexec sleep 600\n")
    sea.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(job, "GENERATE_TIMEOUT_SECONDS", 0.1)
    with pytest.raises(DemoError, match="`sea data shop` was not done"):
        job.generate(["shop"], tmp_path / "out")


def test_a_missing_command_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one about disk space."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(DemoError, match="make setup"):
        job.generate(["shop"], tmp_path / "out")
