"""Large uploads that fail: what a retry may cure is told apart from what it can't, by type."""

from collections.abc import Iterator

import pytest

from sea_data.object_store import (
    AccessDeniedError,
    BucketNotFoundError,
    RequestRefusedError,
    StoreUnavailableError,
)
from sea_devcluster.s3 import S3Server
from sea_runtime.store import multipart
from sea_runtime.store.s3 import ObjectStore
from sea_testing.store_proxy import Fault, StoreProxy
from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component
URL = "s3://runs/large-uploads/x.bin"
DATA = memoryview(bytes((5 << 21) + 1))


@pytest.fixture
def proxy(
    s3: S3Server, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StoreProxy]:
    """In three parts; S3 allows 5 MiB or more."""
    assert store, "its fixture sets the keys"
    monkeypatch.setattr(multipart, "PART", 5 << 20)
    with StoreProxy(s3.endpoint) as found:
        yield found


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.BUSY, StoreUnavailableError),
        (Fault.DROP, StoreUnavailableError),
        (Fault.REFUSED, RequestRefusedError),
        (Fault.REVOKED, AccessDeniedError),
    ],
    ids=str,
)
def test_parts_that_fail_have_the_error_of_their_cause(
    proxy: StoreProxy, fault: Fault, expected: type[Exception]
) -> None:
    """Though the upload itself could begin."""
    proxy.choose = lambda method, path: fault if "partNumber" in path else None
    with pytest.raises(expected):
        ObjectStore(proxy.url, retry_timeout=0.0).put_large(URL, DATA, len(DATA))


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.REVOKED], ids=str)
def test_what_no_retry_can_cure_is_not_tried_again(proxy: StoreProxy, fault: Fault) -> None:
    proxy.choose = lambda method, path: fault if "partNumber" in path else None
    with pytest.raises((AccessDeniedError, RequestRefusedError)):
        ObjectStore(proxy.url, retry_timeout=HANG_S).put_large(URL, DATA, len(DATA))


def test_a_bucket_that_is_not_there_is_named(proxy: StoreProxy) -> None:
    store = ObjectStore(proxy.url, retry_timeout=HANG_S)
    with pytest.raises(BucketNotFoundError, match="create it or correct the address"):
        store.put_large("s3://no-such-bucket/x.bin", DATA, len(DATA))


@pytest.mark.parametrize("kind", [ZeroDivisionError, FileNotFoundError])
def test_an_error_of_what_is_uploaded_is_no_outage(
    proxy: StoreProxy, kind: type[Exception]
) -> None:
    """As of a GPU that a copy can't be read from: waiting for the store wouldn't end."""
    attempts = 0

    def pieces() -> Iterator[memoryview]:
        nonlocal attempts
        attempts += 1
        yield DATA[: 5 << 20]
        raise kind("of the source")

    with pytest.raises(kind, match="of the source"):
        ObjectStore(proxy.url, retry_timeout=HANG_S).put_large(URL, pieces, len(DATA))
    assert attempts == 1


def test_missing_keys_are_named(proxy: StoreProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(AccessDeniedError, match="credentialsSecret"):
        ObjectStore(proxy.url, retry_timeout=HANG_S).put_large(URL, DATA, len(DATA))
