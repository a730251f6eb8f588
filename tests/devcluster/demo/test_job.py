"""Making and uploading a job's data: what can fail is a sentence, what takes long is told."""

import sys
from pathlib import Path
from typing import Any

import pytest

from sea_devcluster.demo import job
from sea_devcluster.demo.errors import DemoError
from sea_devcluster.demo.progress import LINE_SECONDS, Progress
from sea_devcluster.demo.target import ObjectServer
from sea_devcluster.s3 import S3Server

MANIFEST = {"spec": {"storage": {"url": "s3://runs/tiny"}}}


def test_data_that_are_never_made_are_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended the demo with a traceback."""
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


@pytest.mark.component
def test_an_upload_that_is_refused_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 wraps what its transfers raise in an error of another family."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "rl.jsonl").write_text("{}")
    with S3Server(tmp_path / "s3") as s3:
        keys = s3.environment()
        server = ObjectServer(
            s3.endpoint, s3.endpoint, keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]
        )
        assert job.upload(data, MANIFEST, server) == 1
        monkeypatch.setattr(job, "_ensure_bucket", lambda *_: None)
        elsewhere: dict[str, Any] = {"spec": {"storage": {"url": "s3://nowhere/tiny"}}}
        with pytest.raises(DemoError, match=f"Uploading to {s3.endpoint} failed"):
            job.upload(data, elsewhere, server)


def test_a_long_upload_is_told() -> None:
    """Every ten seconds, with the sum."""
    times = iter([0.0, 1.0, LINE_SECONDS, LINE_SECONDS, LINE_SECONDS + 1])
    lines: list[str] = []
    progress = Progress(300_000_000, lines.append, lambda: next(times))
    for _ in range(3):
        progress(100_000_000)
    assert lines == ["  200 of 300 MB uploaded"]
