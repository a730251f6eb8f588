"""Kubernetes objects as this package handles them: plain JSON and a few typed helpers."""

from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]


def uid(obj: Json) -> str:
    """The object's UID: a pod recreated under the same name is another pod."""
    return str(obj["metadata"]["uid"])


def namespaced_name(obj: Json) -> str:
    """`namespace/name`, for messages."""
    metadata = obj["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"


def timestamp(moment: datetime | None) -> str | None:
    """RFC 3339 with whole seconds, the format of Kubernetes' `Time`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def micro_timestamp(moment: datetime) -> str:
    """RFC 3339 with microseconds, the format of Kubernetes' `MicroTime`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_timestamp(text: str | None) -> datetime | None:
    """The inverse of both; None for an absent value."""
    return datetime.fromisoformat(text) if text else None


def utc_now() -> datetime:
    """The current time: the default of every injected clock."""
    return datetime.now(UTC)
