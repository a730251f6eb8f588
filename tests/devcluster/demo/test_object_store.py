"""The demo's S3 side: a server that refuses or does not answer is one sentence."""

from pathlib import Path
from typing import Any

import pytest

from sea_devcluster.demo import object_store
from sea_devcluster.demo.object_store import (
    PROGRESS_SECONDS,
    ObjectServer,
    RunObjects,
    UploadProgress,
)
from sea_devcluster.errors import DemoError
from sea_devcluster.s3 import S3Server

MANIFEST = {"spec": {"storage": {"url": "s3://runs/tiny"}}}


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
        assert object_store.upload(data, MANIFEST, server) == 1
        monkeypatch.setattr(object_store, "_ensure_bucket", lambda *_: None)
        elsewhere: dict[str, Any] = {"spec": {"storage": {"url": "s3://nowhere/tiny"}}}
        with pytest.raises(DemoError, match=f"Uploading to {s3.endpoint} failed"):
            object_store.upload(data, elsewhere, server)


def test_a_long_upload_shows_progress() -> None:
    """Every ten seconds, with the sum."""
    times = iter([0.0, 1.0, PROGRESS_SECONDS, PROGRESS_SECONDS, PROGRESS_SECONDS + 1])
    lines: list[str] = []
    progress = UploadProgress(300_000_000, lines.append, lambda: next(times))
    for _ in range(3):
        progress(100_000_000)
    assert lines == ["  200 of 300 MB uploaded"]


def test_an_object_that_cannot_be_read_is_one_sentence() -> None:
    """A run of hours must not end in a traceback of botocore's."""
    nobody = "http://127.0.0.1:9"
    objects = RunObjects("s3://runs/tiny", ObjectServer(nobody, nobody, "a", "b"))
    with pytest.raises(DemoError, match=r"s3://runs/tiny/reports/metrics\.jsonl .*127\.0\.0\.1:9"):
        objects.metrics()
