"""A real coordinator process, a real S3 server, and clients that act as trainer and worker."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from sea_devcluster.s3 import S3Server


def _load(name: str) -> ModuleType:
    """A helper module of this folder: importmode importlib puts no folder on sys.path."""
    qualified = f"coordinator_tests_{name}"
    if qualified not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            qualified, Path(__file__).parent / f"{name}.py"
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[qualified] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[qualified])
    return sys.modules[qualified]


harness = _load("harness")
inprocess = _load("inprocess")


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A SeaweedFS server; ends with the session."""
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket("runs")
        yield server


@pytest.fixture
def job(s3: S3Server, tmp_path: Path) -> Iterator["harness.Job"]:
    """A job of its own below the shared server: data uploaded, coordinator not started."""
    job = harness.Job(s3, tmp_path)
    yield job
    job.close()


@pytest.fixture
def second_job(s3: S3Server, tmp_path: Path) -> Iterator["harness.Job"]:
    """Another one, to compare with."""
    job = harness.Job(s3, tmp_path / "second")
    yield job
    job.close()
