"""ObjectStore against a real S3 server."""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig

from sea_data.object_store import (
    AccessDeniedError,
    BucketNotFoundError,
    ObjectChangedError,
    ObjectNotFoundError,
    PreconditionFailedError,
)
from sea_devcluster.s3 import S3Server
from sea_runtime.store import s3 as s3_module
from sea_runtime.store.folders import download_folder, upload_folder
from sea_runtime.store.retry import RetryPolicy
from sea_runtime.store.s3 import ObjectStore
from sea_testing.waiting import HANG_S

pytestmark = pytest.mark.component
ROOT = "s3://things"


def test_put_get_list_delete(store: ObjectStore) -> None:
    """One object through all plain calls."""
    url = f"{ROOT}/plain/a.bin"
    assert not store.exists(url)
    store.put(url, b"0123456789")
    assert store.exists(url)
    assert store.size(url) == 10
    assert store.get(url) == b"0123456789"
    assert store.read_range(url, 3, 4) == b"3456"
    assert store.read_range(url, 8, 100) == b"89"
    assert [(item.url, item.size) for item in store.list(f"{ROOT}/plain/")] == [(url, 10)]
    store.delete(url)
    store.delete(url)
    with pytest.raises(ObjectNotFoundError, match=r"plain/a\.bin"):
        store.get(url)


def test_one_of_sixteen_creators_wins(store: ObjectStore) -> None:
    """If-None-Match: the others get an error that another writer was first."""
    url = f"{ROOT}/race.json"

    def create(number: int) -> int | None:
        try:
            store.put_if(url, str(number).encode(), None)
        except PreconditionFailedError:
            return None
        return number

    with ThreadPoolExecutor(16) as pool:
        winners = [number for number in pool.map(create, range(16)) if number is not None]
    assert [str(number).encode() for number in winners] == [store.get(url)]


def test_compare_and_set(store: ObjectStore) -> None:
    """If-Match: a writer with an old tag is refused."""
    url = f"{ROOT}/head.json"
    first = store.put_if(url, b"1", None)
    second = store.put_if(url, b"2", first)
    with pytest.raises(PreconditionFailedError):
        store.put_if(url, b"3", first)
    assert store.get_with_etag(url) == (b"2", second)


def test_folders_are_uploaded_and_downloaded(store: ObjectStore, tmp_path: Path) -> None:
    """Names, sizes and contents survive; the sums are those of the files."""
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep").mkdir(parents=True)
    for number in range(20):
        (source / "deep" / f"{number}.bin").write_bytes(bytes([number]) * 1000 * number)
    sums = upload_folder(store, source, f"{ROOT}/folder")
    download_folder(store, f"{ROOT}/folder", target)
    for name, size, sha256 in sums:
        body = (target / name).read_bytes()
        assert (len(body), hashlib.sha256(body).hexdigest()) == (size, sha256)
    assert [one.name for one in sums] == sorted(f"deep/{number}.bin" for number in range(20))
    assert (target / "deep/7.bin").read_bytes() == bytes([7]) * 7000


def test_large_files_go_in_parts(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Multipart upload and ranged download give the same bytes."""
    small = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    monkeypatch.setattr(s3_module, "TRANSFER", small)
    data = bytes(range(256)) * 50000
    (tmp_path / "large.bin").write_bytes(data)
    store.upload_file(tmp_path / "large.bin", f"{ROOT}/large.bin")
    store.download_file(f"{ROOT}/large.bin", tmp_path / "back.bin", len(data))
    assert (tmp_path / "back.bin").read_bytes() == data


def test_an_empty_folder_is_an_error(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFoundError, match="is empty"):
        download_folder(store, f"{ROOT}/nothing", tmp_path / "x")


def test_a_file_overwritten_during_the_download_is_an_error(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(f"{ROOT}/changing/a.bin", b"old")
    get = ObjectStore.get

    def overwritten(self: ObjectStore, url: str) -> bytes:
        self.put(url, b"newer")
        return get(self, url)

    monkeypatch.setattr(ObjectStore, "get", overwritten)
    with pytest.raises(ObjectChangedError, match=r"a\.bin has 5 bytes, but 3 were listed"):
        download_folder(store, f"{ROOT}/changing", tmp_path / "x")


def test_wrong_bucket_and_wrong_keys(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own error."""
    with pytest.raises(BucketNotFoundError):
        store.get("s3://no-such-bucket/x")
    # Not as if another writer had been first, which a commit takes as a reason to try again.
    with pytest.raises(BucketNotFoundError):
        store.put_if("s3://no-such-bucket/x", b"", None)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(AccessDeniedError, match="credentialsSecret"):
        ObjectStore(retry_timeout=HANG_S).get(f"{ROOT}/x")


def test_an_outage_is_waited_out(s3: S3Server, store: ObjectStore) -> None:
    """A call that begins while the server is away ends when it is back."""
    store.put(f"{ROOT}/outage.bin", b"still here")
    failed = threading.Event()

    def sleep(seconds: float) -> None:
        failed.set()
        time.sleep(seconds)

    patient = ObjectStore(retry_timeout=RetryPolicy(HANG_S, sleep=sleep))
    found: list[bytes] = []
    call = threading.Thread(target=lambda: found.append(patient.get(f"{ROOT}/outage.bin")))
    s3.stop()
    call.start()
    seen = failed.wait(HANG_S)
    s3.start()
    call.join(HANG_S)
    assert seen, "the first attempt found no server"
    assert found == [b"still here"]
