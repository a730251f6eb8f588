"""The demo's S3 side: uploads the training data and reads back what a run wrote."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sea_devcluster.errors import DemoError

PROGRESS_SECONDS = 10.0
MB = 1e6


@dataclass(frozen=True)
class ObjectServer:
    """An S3 server as seen from this machine and from the pods."""

    endpoint: str
    pod_endpoint: str
    access_key: str
    secret_key: str


def client(server: ObjectServer) -> Any:
    """An S3 client that connects from this machine."""
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 5}),
    )


def ensure_bucket(manifest: dict[str, Any], server: ObjectServer) -> None:
    """Creates the bucket of `storage.url`, as its owner would have before the first job.

    Raises:
        DemoError: The server doesn't answer or refuses.
    """
    try:
        _ensure_bucket(client(server), _storage(manifest)[0])
    except (BotoCoreError, ClientError) as error:
        raise DemoError(f"Making the bucket at {server.endpoint} failed: {error}") from error


def upload(
    folder: Path,
    manifest: dict[str, Any],
    server: ObjectServer,
    report: Callable[[str], object] = lambda _: None,
) -> int:
    """Uploads a data folder below `<storage.url>/data/`.

    Args:
        folder: The data.
        manifest: The job.
        server: Where to.
        report: Called with a line every ten seconds while the upload lasts.

    Returns:
        Number of files.

    Raises:
        DemoError: The server doesn't answer or refuses.
    """
    bucket, prefix = _storage(manifest)
    s3 = client(server)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    progress = UploadProgress(sum(path.stat().st_size for path in files), report)
    try:
        _ensure_bucket(s3, bucket)
        for path in files:
            key = f"{prefix}/data/{path.relative_to(folder)}"
            s3.upload_file(str(path), bucket, key, Callback=progress)
    except (Boto3Error, BotoCoreError, ClientError) as error:  # boto3 wraps what a transfer raises
        raise DemoError(f"Uploading to {server.endpoint} failed: {error}") from error
    return len(files)


class UploadProgress:
    """Counts sent bytes, from any thread, and reports the sum every `PROGRESS_SECONDS`."""

    def __init__(
        self,
        total: int,
        report: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._report = report
        self._clock = clock
        self._done = 0
        self._reported_at = clock()
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        """Adds `count` sent bytes; boto3 calls this from its transfer threads."""
        with self._lock:
            self._done += count
            if self._clock() - self._reported_at < PROGRESS_SECONDS:
                return
            self._reported_at = self._clock()
            line = f"  {self._done / MB:.0f} of {self._total / MB:.0f} MB uploaded"
        self._report(line)


class RunObjects:
    """Objects below `status.runUrl`."""

    def __init__(self, run_url: str, server: ObjectServer) -> None:
        parts = urlsplit(run_url)
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")
        self._endpoint = server.endpoint
        self._s3 = client(server)

    def metrics(self) -> list[dict[str, Any]]:
        """One row per optimizer step."""
        lines = self.read("reports/metrics.jsonl").decode().splitlines()
        return [json.loads(line) for line in lines if line.strip()]

    def timeline(self) -> list[dict[str, Any]]:
        """Spans of generation, training, weight updates and checkpoints."""
        spans: list[dict[str, Any]] = json.loads(self.read("reports/timeline.json"))
        return spans

    def read(self, key: str) -> bytes:
        """Content of an object by its key below the run's prefix.

        Raises:
            DemoError: It can't be read.
        """
        return self.read_absolute(f"{self._prefix}/{key}")

    def names(self, folder: str) -> list[str]:
        """Keys below a folder of the run, relative to the run's prefix; the first thousand."""
        found = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=f"{self._prefix}/{folder}")
        return [one["Key"].removeprefix(f"{self._prefix}/") for one in found.get("Contents", [])]

    def read_absolute(self, key: str) -> bytes:
        """Content of an object by its full key in the run's bucket."""
        try:
            reply = self._s3.get_object(Bucket=self._bucket, Key=key)
            body: bytes = reply["Body"].read()
        except (BotoCoreError, ClientError) as error:
            raise DemoError(
                f"s3://{self._bucket}/{key} can't be read from {self._endpoint}: {error}"
            ) from error
        return body


def _storage(manifest: dict[str, Any]) -> tuple[str, str]:
    """Bucket and key prefix of `storage.url`."""
    url = urlsplit(manifest["spec"]["storage"]["url"])
    return url.netloc, url.path.strip("/")


def _ensure_bucket(s3: Any, bucket: str) -> None:
    existing = {entry["Name"] for entry in s3.list_buckets()["Buckets"]}
    if bucket not in existing:
        s3.create_bucket(Bucket=bucket)
