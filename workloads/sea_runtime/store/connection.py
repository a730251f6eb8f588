"""The connection to an S3 server: address, region and keys from the environment, checked.

The operator sets the variables from the job's storage block and its credentialsSecret.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from sea_api.contract import (
    S3_ACCESS_KEY,
    S3_ADDRESSING,
    S3_ENDPOINT_URL,
    S3_REGION,
    S3_SECRET_KEY,
)
from sea_data.object_store import AccessDeniedError

if TYPE_CHECKING:
    from boto3.session import Session
    from mypy_boto3_s3.client import S3Client

MAX_CONNECTIONS = 16


@dataclass(frozen=True)
class Connection:
    """A client of one server, and what it was made from."""

    session: "Session"
    client: "S3Client"
    endpoint: str | None
    """None: AWS itself."""
    region: str
    virtual_host: bool
    """The bucket is in the host's name, not in the path."""


def connect(
    endpoint: str | None, region: str | None, connect_timeout: float, read_timeout: float
) -> Connection:
    """Sends nothing yet; what isn't given is taken from the environment.

    Args:
        connect_timeout: seconds.
        read_timeout: seconds without a byte.

    Raises:
        AccessDeniedError: a value has a character that doesn't belong there.
    """
    endpoint = endpoint or os.environ.get(S3_ENDPOINT_URL) or None
    region = region or os.environ.get(S3_REGION) or "us-east-1"
    require_plain({S3_ENDPOINT_URL: endpoint or "", S3_REGION: region})
    addressing = _addressing(endpoint)
    more: Any = {"s3": {"addressing_style": addressing}}
    if endpoint:
        # Servers other than AWS may not know checksums in trailers, which botocore sends by
        # default since 1.36 (boto/boto3 issue 4392); TLS and our own sums cover the bytes.
        more["request_checksum_calculation"] = "when_required"
        more["response_checksum_validation"] = "when_required"
    config: Any = Config(
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        max_pool_connections=MAX_CONNECTIONS,
        # botocore counts the first request as an attempt: 1 means no retries (see `retry`).
        retries={"total_max_attempts": 1},
        **more,
    )
    session = boto3.session.Session()
    client: S3Client = session.client(
        "s3", endpoint_url=endpoint, region_name=region, config=config
    )
    return Connection(session, client, endpoint, region, addressing == "virtual")


def require_plain(values: Mapping[str, str]) -> None:
    """Checks what requests are signed and sent with, by the name of its variable.

    Raises:
        AccessDeniedError: a value has a blank, a line break or another character that is no part of
            a key, a region or an address. Sent, it would be a signature that never matches.
    """
    keys = {name: os.environ.get(name, "") for name in (S3_ACCESS_KEY, S3_SECRET_KEY)}
    for name, value in {**keys, **values}.items():
        if not value.isascii() or not value.isprintable() or " " in value:
            raise AccessDeniedError(
                f"{name} has a blank, a line break or another character that doesn't belong there. "
                "Correct it in the job's credentialsSecret or storage block; `echo` adds a line "
                "break, `printf %s` doesn't."
            )


def _addressing(endpoint: str | None) -> str:
    wanted = os.environ.get(S3_ADDRESSING)
    if wanted:
        return {"Path": "path", "VirtualHost": "virtual"}[wanted]
    # A server of one's own rarely resolves bucket.host names.
    return "path" if endpoint else "auto"
