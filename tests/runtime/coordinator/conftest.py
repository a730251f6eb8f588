"""A real coordinator process, a real S3 server, and clients that act as trainer and worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sea_devcluster.s3 import S3Server
from sea_testing.coordinator.job import Job
from sea_testing.coordinator.pace import Pace


@pytest.fixture
def job(s3: S3Server, tmp_path: Path) -> Iterator[Job]:
    """A job of its own below the shared server: data uploaded, coordinator not started."""
    job = Job(s3, tmp_path)
    yield job
    job.close()


@pytest.fixture
def second_job(s3: S3Server, tmp_path: Path) -> Iterator[Job]:
    """Another one, to compare with."""
    job = Job(s3, tmp_path / "second")
    yield job
    job.close()


@pytest.fixture
def pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pace:
    """Of the synthesis of coordinators that are started after this."""
    return Pace(tmp_path, monkeypatch)
