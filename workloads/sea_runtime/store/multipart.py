"""Large uploads by obstore, which takes a sixth to a third of boto3's CPU per byte.

Parts go up in parallel and are repeated one by one. Every part's SHA-256 is in its signature, or
its CRC64NVME in a header where the store is AWS: the server refuses a part that arrived damaged.
obstore's errors have no code of S3 and one type for most of what may happen: what a failure means
is asked of boto3 (`try_upload`), whose errors have a code. boto3 also aborts what is left of
uploads that never ended.

Measured on SeaweedFS, in CPU seconds of the client per GB: boto3 2.1, obstore 0.65 signed and
0.19 with CRC64NVME.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from sea_api.contract import S3_CA_BUNDLE
from sea_data import urls
from sea_data.object_store import (
    AccessDeniedError,
    ObjectNotFoundError,
    RequestRefusedError,
    StoreUnavailableError,
)
from sea_runtime.store.retry import RetryPolicy

if TYPE_CHECKING:
    from boto3.session import Session
    from obstore.store import S3Store

PART = 16 << 20
"""Bytes. What a dropped connection repeats."""
MAX_PARTS = 10_000
"""S3's limit per object."""
CONCURRENCY = 8
MAX_RETRIES = 8
REQUEST_SECONDS = 120
"""Longest request for one part."""
MAX_RETRY_SECONDS = 60.0
"""For which one request is repeated; the whole upload is repeated by `RetryPolicy`."""


class UploadFailedError(StoreUnavailableError):
    """An upload failed in obstore; `s3.py` finds out what that means."""


class UploadDeniedError(AccessDeniedError):
    """obstore was refused; where boto3 isn't, with keys that have been replaced meanwhile."""

    permanent = False


class UploadRefusedError(RequestRefusedError):
    """obstore can't send the request at all."""


def part_bytes(nbytes: int) -> int:
    """Size of the parts of an object: a multiple of `PART`."""
    return PART * max(1, -(-nbytes // (PART * MAX_PARTS)))


class LargeUploads:
    """Uploads to one server with the credentials of a boto3 session, renewed as it renews them."""

    def __init__(
        self,
        session: "Session",
        endpoint: str | None,
        region: str,
        *,
        virtual_host: bool,
        retry_timeout: float,
    ) -> None:
        self._retry_timeout = min(retry_timeout, MAX_RETRY_SECONDS)
        self._session, self._endpoint, self._region = session, endpoint, region
        self._virtual_host = virtual_host
        self._stores: dict[str, S3Store] = {}

    def put(
        self, bucket: str, key: str, data: memoryview | Iterable[memoryview], size: int
    ) -> None:
        """Writes an object in parts.

        Args:
            data: flat bytes, which are not copied, or pieces one after another.
            size: of the object, in bytes.

        Raises:
            UploadFailedError, UploadDeniedError, UploadRefusedError: obstore's errors, by type.
            Exception: what `data` raised, as it is.
        """
        # Not at the top: pods that upload nothing large don't start its threads.
        import obstore
        from obstore import exceptions

        own: list[Exception] = []
        parts: Any = data if isinstance(data, memoryview) else _watched(data, own)
        chunk = part_bytes(size)
        try:
            obstore.put(
                self._store(bucket),
                key,
                parts,
                chunk_size=chunk,
                max_concurrency=CONCURRENCY,
                use_multipart=size > chunk or not isinstance(data, memoryview),
            )
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            # The next attempt reads the credentials again.
            self._stores.pop(bucket, None)
            raise UploadDeniedError(str(error)) from error
        except (
            exceptions.InvalidPathError,
            exceptions.NotSupportedError,
            exceptions.UnknownConfigurationKeyError,
        ) as error:
            raise UploadRefusedError(str(error)) from error
        # All others, GenericError among them: for an outage as for a status of 400. Where the
        # server says 404, obstore raises the builtin.
        except (exceptions.BaseError, FileNotFoundError) as error:
            if own:
                raise own[0] from None
            raise UploadFailedError(str(error)) from error

    def _store(self, bucket: str) -> "S3Store":
        if bucket not in self._stores:
            self._stores[bucket] = self._connect(bucket)
        return self._stores[bucket]

    def _connect(self, bucket: str) -> "S3Store":
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store

        # obstore raises a ValueError, which names no remedy.
        if self._session.get_credentials() is None:
            raise NoCredentialsError
        client: Any = {
            "allow_http": (self._endpoint or "").startswith("http://"),
            "connect_timeout": timedelta(seconds=5),
            "timeout": timedelta(seconds=REQUEST_SECONDS),
        }
        bundle = os.environ.get(S3_CA_BUNDLE)
        if bundle:
            client["root_certificate"] = Path(bundle).read_bytes()
        config: Any = {"region": self._region}
        if self._endpoint:
            config["endpoint"] = self._address(bucket)
        else:
            # Other servers may not know the header; AWS does, and the hash of the signature costs
            # three times as much.
            config |= {"checksum_algorithm": "CRC64NVME", "unsigned_payload": True}
        if self._virtual_host:
            config["virtual_hosted_style_request"] = True
        return S3Store(
            bucket,
            config=config,
            client_options=client,
            retry_config={
                "max_retries": MAX_RETRIES if self._retry_timeout else 0,
                "retry_timeout": timedelta(seconds=self._retry_timeout),
            },
            credential_provider=Boto3CredentialProvider(self._session, ttl=timedelta(minutes=5)),
        )

    def _address(self, bucket: str) -> str:
        """With virtual hosts, obstore wants the bucket in the endpoint."""
        endpoint = str(self._endpoint)
        if not self._virtual_host:
            return endpoint
        scheme, _, host = endpoint.partition("://")
        return f"{scheme}://{bucket}.{host}"


def _watched(pieces: Iterable[memoryview], raised: list[Exception]) -> Iterator[memoryview]:
    """The pieces; keeps what they raise, so that it isn't taken for the store's."""
    try:
        yield from pieces
    except Exception as error:
        raised.append(error)
        raise


def try_upload(client: Any, bucket: str, key: str) -> None:
    """Raises botocore's error, which has a code, for what keeps parts from being stored."""
    where: Any = {"Bucket": bucket, "Key": key}
    where["UploadId"] = client.create_multipart_upload(**where)["UploadId"]
    try:
        client.upload_part(**where, PartNumber=1, Body=b"x")
    finally:
        # What is left behind is swept with abandoned uploads; its error must not hide the part's.
        with suppress(ClientError, BotoCoreError):
            client.abort_multipart_upload(**where)


def abort_uploads(
    client: Any, retry: RetryPolicy, url_prefix: str, is_abandoned: Callable[[str], bool]
) -> list[str]:
    """`ObjectStore.abort_uploads`."""
    bucket, prefix = urls.parse(url_prefix)

    def attempt() -> list[tuple[str, str]]:
        pages = client.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket, Prefix=prefix
        )
        return [
            (item["Key"], item["UploadId"]) for page in pages for item in page.get("Uploads", [])
        ]

    def abort(key: str, upload: str) -> Callable[[], object]:
        return lambda: client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)

    found = []
    for key, upload in retry.call(f"LIST uploads of {url_prefix}", attempt):
        url = str(urls.S3Url(bucket, key))
        # Some servers take the prefix for a hint: nothing outside it is ever touched.
        if key.startswith(prefix) and is_abandoned(url):
            # Ended meanwhile: nothing is left to abort.
            with suppress(ObjectNotFoundError):
                retry.call(f"DELETE upload of {url}", abort(key, upload))
            found.append(url)
    return found
