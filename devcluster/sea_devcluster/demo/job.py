"""What the demo applies: the example job, fitted to the cluster's S3 server, and its data."""

import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sea_devcluster.demo import job_file
from sea_devcluster.demo.errors import DemoError
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
    """Writes a data folder with the `sea` command."""
    command = [str(Path(sys.executable).parent / "sea"), "data", *arguments, "--out", str(out)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=GENERATE_TIMEOUT_SECONDS
    )
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


def upload(folder: Path, manifest: dict[str, Any], server: ObjectServer) -> int:
    """Uploads a data folder below `<storage.url>/data/`; returns the number of files."""
    url = urlsplit(manifest["spec"]["storage"]["url"])
    prefix = url.path.strip("/") + "/data"
    s3 = client(server)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    try:
        _ensure_bucket(s3, url.netloc)
        for path in files:
            s3.upload_file(str(path), url.netloc, f"{prefix}/{path.relative_to(folder)}")
    except (BotoCoreError, ClientError) as error:
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
