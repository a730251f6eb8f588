"""What the demo applies: the example job, fitted to the cluster's S3 server, and its data."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sea_devcluster.demo import job_file
from sea_devcluster.demo.errors import DemoError
from sea_devcluster.demo.progress import Progress
from sea_devcluster.demo.target import ObjectServer

GENERATE_TIMEOUT_SECONDS = 300


def load(path: Path, server: ObjectServer) -> dict[str, Any]:
    """The example's manifest with `storage.endpoint` of this cluster."""
    manifest = job_file.read(path)
    manifest["spec"]["storage"]["endpoint"] = server.pod_endpoint
    return manifest


def namespace(manifest: dict[str, Any]) -> str:
    return str(manifest["metadata"].get("namespace", "default"))


def credentials_secret(manifest: dict[str, Any], server: ObjectServer) -> dict[str, Any]:
    """The Secret that `spec.storage.credentialsSecret` names."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": manifest["spec"]["storage"]["credentialsSecret"],
            "namespace": namespace(manifest),
        },
        "stringData": {
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        },
    }


def generate(arguments: list[str], out: Path) -> None:
    """Writes a data folder with the `sea` command.

    Raises:
        DemoError: There is no such command, it takes too long, or it fails.
    """
    sea = Path(sys.executable).parent / "sea"
    command = [str(sea), "data", *arguments, "--out", str(out)]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=GENERATE_TIMEOUT_SECONDS
        )
    except FileNotFoundError:
        raise DemoError(f"The command {sea} is missing; run `make setup`.") from None
    except subprocess.TimeoutExpired:
        raise DemoError(
            f"`sea data {' '.join(arguments)}` was not done after {GENERATE_TIMEOUT_SECONDS:.0f} s;"
            " end other programs on this machine, or make the data yourself and name their folder "
            "with --data."
        ) from None
    if done.returncode != 0:
        raise DemoError(f"`sea data {' '.join(arguments)}` failed: {done.stderr.strip()}")


def client(server: ObjectServer) -> Any:
    """An S3 client for this machine's side of the server."""
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 5}),
    )


def upload(
    folder: Path,
    manifest: dict[str, Any],
    server: ObjectServer,
    tell: Callable[[str], object] = lambda _: None,
) -> int:
    """Uploads a data folder below `<storage.url>/data/`; returns the number of files.

    Args:
        folder: The data.
        manifest: The job.
        server: Where to.
        tell: Gets a line now and then while it takes long.

    Raises:
        DemoError: The server doesn't answer or refuses.
    """
    url = urlsplit(manifest["spec"]["storage"]["url"])
    prefix = url.path.strip("/") + "/data"
    s3 = client(server)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    progress = Progress(sum(path.stat().st_size for path in files), tell)
    try:
        _ensure_bucket(s3, url.netloc)
        for path in files:
            key = f"{prefix}/{path.relative_to(folder)}"
            s3.upload_file(str(path), url.netloc, key, Callback=progress)
    except (Boto3Error, BotoCoreError, ClientError) as error:  # boto3 wraps what a transfer raises
        raise DemoError(f"Uploading to {server.endpoint} failed: {error}") from error
    return len(files)


def ensure_bucket(manifest: dict[str, Any], server: ObjectServer) -> None:
    """Makes the bucket of `storage.url`, as its owner would have before the first job."""
    try:
        _ensure_bucket(client(server), urlsplit(manifest["spec"]["storage"]["url"]).netloc)
    except (BotoCoreError, ClientError) as error:
        raise DemoError(f"Making the bucket at {server.endpoint} failed: {error}") from error


def _ensure_bucket(s3: Any, bucket: str) -> None:
    existing = {entry["Name"] for entry in s3.list_buckets()["Buckets"]}
    if bucket not in existing:
        s3.create_bucket(Bucket=bucket)
