"""`s3://bucket/key` addresses: taken apart, joined, never guessed."""

from typing import NamedTuple

from sea_data.object_store.errors import BadUrlError

SCHEME = "s3://"


class S3Url(NamedTuple):
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


def parse(url: str) -> S3Url:
    """Splits `s3://bucket/key`; the key may be empty (a whole bucket).

    Raises:
        BadUrlError: another scheme, or no bucket.
    """
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    if not url.startswith(SCHEME) or not bucket:
        raise BadUrlError(f"'{url}' is not an S3 address; write it as s3://bucket/key.")
    return S3Url(bucket, key)


def join(url: str, *parts: str) -> str:
    """`join("s3://b/run/", "base", "config.json")` is `s3://b/run/base/config.json`."""
    return "/".join([url.rstrip("/"), *(part.strip("/") for part in parts)])


def folder(url: str) -> str:
    """The same address with exactly one slash at its end, so that it lists one folder only."""
    return url.rstrip("/") + "/"
