"""The object store as all pod roles use it: one class, blocking, safe to share between threads.

Trainer, rollout worker and coordinator read and write base models, weight anchors, checkpoints,
ledger snapshots and reports through it. asyncio callers wrap calls in `asyncio.to_thread`.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from boto3.s3.transfer import TransferConfig

from sea_data import urls
from sea_data.object_store import (
    BucketNotFoundError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreError,
    StoreUnavailableError,
)
from sea_runtime.store import buffers, connection, multipart
from sea_runtime.store.multipart import LargeUploads
from sea_runtime.store.retry import RetryPolicy

# 8 of the 16 pooled connections, so that one large transfer leaves some for other threads.
TRANSFER = TransferConfig(
    multipart_threshold=64 << 20, multipart_chunksize=64 << 20, max_concurrency=8
)


class ObjectInfo(NamedTuple):
    url: str
    size: int
    """Bytes."""
    etag: str


class ObjectStore:
    """S3 with time-outs, retries during outages, and conditional writes.

    Args:
        endpoint: address of the server; by default `AWS_ENDPOINT_URL`, else AWS itself.
        region: by default `AWS_DEFAULT_REGION`, else us-east-1.
        connect_timeout: seconds for a connection.
        read_timeout: seconds without a byte before a request counts as failed.
        retry_timeout: seconds for which a call is repeated while the store does not answer.

    Raises (all methods): `StoreError` and its subclasses, never botocore's errors.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        region: str | None = None,
        *,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        retry_timeout: float | RetryPolicy = 90.0,
    ) -> None:
        given = retry_timeout
        self._retry = given if isinstance(given, RetryPolicy) else RetryPolicy(given)
        found = connection.connect(endpoint, region, connect_timeout, read_timeout)
        self._client = found.client
        # The same session, so that both renew its credentials together.
        self._large = LargeUploads(
            found.session,
            found.endpoint,
            found.region,
            virtual_host=found.virtual_host,
            retry_timeout=self._retry.timeout_s,
        )

    def watched(self, gives_up: Callable[[], bool]) -> "ObjectStore":
        """The same store; `gives_up` is asked after each failure that may pass, and ends the call
        if it says so."""
        other = copy.copy(self)
        other._retry = replace(self._retry, gives_up=gives_up)
        return other

    def get(self, url: str) -> bytes:
        return self.get_with_etag(url)[0]

    def get_with_etag(self, url: str) -> tuple[bytes, str]:
        """The object and the tag to pass to `put_if`."""
        bucket, key = urls.parse(url)

        def attempt() -> tuple[bytes, str]:
            reply = self._client.get_object(Bucket=bucket, Key=key)
            # Body and tag come from one reply: two requests could see two versions.
            return reply["Body"].read(), reply["ETag"]

        return self._retry.call(f"GET {url}", attempt)

    def read_range(self, url: str, start: int, length: int) -> bytes:
        """`length` bytes from offset `start`; fewer if the object ends before."""
        bucket, key = urls.parse(url)
        span = f"bytes={start}-{start + length - 1}"

        def attempt() -> bytes:
            return self._client.get_object(Bucket=bucket, Key=key, Range=span)["Body"].read()

        return self._retry.call(f"GET {url} ({span})", attempt) if length else b""

    def read_into(self, url: str, out: memoryview, start: int = 0) -> int:
        """Fills `out` with the object's bytes from `start` on; returns how many there were.

        Reads range by range without a copy in memory: only a range that breaks off is read again.
        """
        bucket, key = urls.parse(url)
        for at in range(0, len(out), buffers.RANGE):
            part = out[at : at + buffers.RANGE]
            span = f"bytes={start + at}-{start + at + len(part) - 1}"

            # Defaults bind this iteration's values; a closure would see the loop's last ones.
            def attempt(part: memoryview = part, span: str = span) -> int:
                reply = self._client.get_object(Bucket=bucket, Key=key, Range=span)
                return buffers.fill(part, reply["Body"].iter_chunks(buffers.PIECE))

            # A repeated range starts at its own beginning and overwrites what it had filled.
            done = self._retry.call(f"GET {url} ({span})", attempt)
            if done < len(part):
                return at + done
        return len(out)

    def put(self, url: str, body: bytes) -> str:
        """Writes or overwrites; returns the entity tag."""
        bucket, key = urls.parse(url)

        def attempt() -> str:
            return self._client.put_object(Bucket=bucket, Key=key, Body=body)["ETag"]

        return self._retry.call(f"PUT {url}", attempt)

    def put_buffer(self, url: str, data: memoryview) -> None:
        """Writes in parts what may be too large for one request or for a copy in memory."""
        bucket, key = urls.parse(url)
        if len(data) < buffers.PARTS.multipart_threshold:
            self.put(url, bytes(data))
            return

        def attempt() -> None:
            source: Any = buffers.Source(data)
            self._client.upload_fileobj(source, bucket, key, Config=buffers.PARTS)

        self._retry.call(f"PUT {url}", attempt)

    def put_large(
        self, url: str, data: memoryview | Callable[[], Iterable[memoryview]], size: int
    ) -> None:
        """Writes a large object in parallel parts, and checks that the store has all of it.

        Args:
            data: flat bytes, which are not copied; or what yields them from the start, called once
                per attempt.
            size: of the object, in bytes.

        Raises:
            StoreUnavailableError: an outage, or the object is shorter than what was sent, until the
                deadline.
            StoreError: the store refuses it; not tried again.
            Exception: what `data` raised, as it is; not tried again.
        """
        bucket, key = urls.parse(url)

        def attempt() -> None:
            try:
                self._large.put(bucket, key, data if isinstance(data, memoryview) else data(), size)
            except StoreError:
                # Raises what boto3 is refused for; if nothing, obstore's own error stands.
                multipart.try_upload(self._client, bucket, key)
                raise
            stored = self.size(url)
            if stored != size:
                raise StoreUnavailableError(
                    f"The store reports success for {size} bytes and has {stored or 'none'}."
                )

        self._retry.call(f"PUT {url}", attempt)

    def abort_uploads(self, url_prefix: str, is_abandoned: Callable[[str], bool]) -> list[str]:
        """Aborts unfinished multipart uploads, whose parts a store keeps and bills.

        Args:
            is_abandoned: says of an object's address whether nobody uploads it any more.

        Returns:
            The addresses of those that were aborted.
        """
        return multipart.abort_uploads(self._client, self._retry, url_prefix, is_abandoned)

    def put_if(self, url: str, body: bytes, etag: str | None) -> str:
        """Writes only if the object still has `etag` (None: if there is no object yet).

        Raises:
            PreconditionFailedError: another writer was first.
        """
        bucket, key = urls.parse(url)
        # If-None-Match: * creates; If-Match replaces exactly what was read.
        condition: Any = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        attempts = 0

        def attempt() -> str:
            nonlocal attempts
            attempts += 1
            return self._client.put_object(Bucket=bucket, Key=key, Body=body, **condition)["ETag"]

        try:
            return self._retry.call(f"PUT {url} (conditional)", attempt)
        # No writer was first: whoever takes it for that tries again without end.
        except BucketNotFoundError:
            raise
        except (PreconditionFailedError, ObjectNotFoundError) as error:
            # A write whose answer was lost is repeated, and then refused as if another writer had
            # been first: after a repetition the object's content decides who won.
            current, tag = self.get_with_etag(url) if attempts > 1 else (None, "")
            if current == body:
                return tag
            raise PreconditionFailedError(str(error)) from error

    def exists(self, url: str) -> bool:
        return self.size(url) is not None

    def size(self, url: str) -> int | None:
        """Bytes of an object; None if there is none."""
        bucket, key = urls.parse(url)

        def attempt() -> int:
            return self._client.head_object(Bucket=bucket, Key=key)["ContentLength"]

        try:
            return self._retry.call(f"HEAD {url}", attempt)
        except ObjectNotFoundError:
            return None

    def list(self, url_prefix: str) -> "list[ObjectInfo]":
        """All objects whose address begins with `url_prefix`, in the order of their keys."""
        bucket, prefix = urls.parse(url_prefix)

        def attempt() -> list[ObjectInfo]:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix
            )
            return [
                ObjectInfo(str(urls.S3Url(bucket, item["Key"])), item["Size"], item["ETag"])
                for page in pages
                for item in page.get("Contents", [])
            ]

        return self._retry.call(f"LIST {url_prefix}", attempt)

    def delete(self, url: str) -> None:
        """Removes an object; a missing one is no error."""
        bucket, key = urls.parse(url)
        self._retry.call(
            f"DELETE {url}", lambda: self._client.delete_object(Bucket=bucket, Key=key)
        )

    def upload_file(self, path: Path, url: str) -> None:
        """Uploads a file, in parallel parts if it is large."""
        if path.stat().st_size < TRANSFER.multipart_threshold:
            self.put(url, path.read_bytes())
            return
        bucket, key = urls.parse(url)

        def attempt() -> None:
            # Opened per attempt: a repeated upload starts at the file's beginning.
            with path.open("rb") as file:
                self._client.upload_fileobj(file, bucket, key, Config=TRANSFER)

        self._retry.call(f"PUT {url}", attempt)

    def download_file(self, url: str, path: Path, size: int) -> None:
        """Downloads an object of `size` bytes, in parallel ranges if it is large."""
        if size < TRANSFER.multipart_threshold:
            path.write_bytes(self.get(url))
            return
        bucket, key = urls.parse(url)

        def attempt() -> None:
            # Opened per attempt, which truncates what an earlier one has written.
            with path.open("wb") as file:
                self._client.download_fileobj(bucket, key, file, Config=TRANSFER)

        self._retry.call(f"GET {url}", attempt)
