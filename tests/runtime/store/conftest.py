"""A real S3 server (SeaweedFS) and a store on it."""

from collections.abc import Iterator

import pytest

from sea_devcluster.s3 import S3Server
from sea_runtime.store.s3 import ObjectStore
from sea_testing.waiting import HANG_S


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket("things")
        yield server


@pytest.fixture
def store(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    return ObjectStore(retry_timeout=HANG_S)
