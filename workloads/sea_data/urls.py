"""`s3://bucket/key` addresses: split and joined in one place."""

from typing import NamedTuple

from sea_data.object_store import StoreError

SCHEME = "s3://"


class BadUrlError(StoreError, ValueError):
    """The address is not `s3://bucket/key`."""


class S3Url(NamedTuple):
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


def parse(url: str) -> S3Url:
    """Splits `s3://bucket/key`; the key may be empty (a whole bucket).

    Raises BadUrlError for another scheme or a missing bucket.
    """
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    if not url.startswith(SCHEME) or not bucket:
        raise BadUrlError(f"'{url}' is not an S3 address; write it as s3://bucket/key.")
    return S3Url(bucket, key)


def join(url: str, *parts: str) -> str:
    """`join("s3://b/run/", "base", "config.json")` is `s3://b/run/base/config.json`."""
    return "/".join([url.rstrip("/"), *(part.strip("/") for part in parts)])


def folder(url: str) -> str:
    """The address with exactly one slash at its end, so that a listing covers one folder only."""
    return url.rstrip("/") + "/"
