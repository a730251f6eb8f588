"""Which lines of a log a client asked for: `kubectl logs` options as a pure function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .wire import micro_timestamp


@dataclass(frozen=True)
class LogQuery:
    """PodLogOptions as a kubelet receives them."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    limit_bytes: int | None = None


def parse(query: Mapping[str, str], now: datetime) -> LogQuery:
    """Read the query string; ValueError for numbers that aren't."""
    since = None
    if "sinceSeconds" in query:
        since = now - timedelta(seconds=int(query["sinceSeconds"]))
    elif "sinceTime" in query:
        since = datetime.fromisoformat(query["sinceTime"])
    return LogQuery(
        follow=query.get("follow") in {"true", "1"},
        previous=query.get("previous") in {"true", "1"},
        timestamps=query.get("timestamps") in {"true", "1"},
        tail_lines=int(query["tailLines"]) if "tailLines" in query else None,
        since=since,
        limit_bytes=int(query["limitBytes"]) if "limitBytes" in query else None,
    )


def select(lines: Sequence[bytes], query: LogQuery) -> bytes:
    """The bytes to send for stored lines (`TIMESTAMP TEXT`)."""
    if query.since is not None:
        # Timestamps of one format in UTC sort as text.
        start = micro_timestamp(query.since).encode()
        lines = [line for line in lines if line.split(b" ", 1)[0] >= start]
    if query.tail_lines is not None:
        lines = lines[-query.tail_lines :] if query.tail_lines else []
    content = b"".join(render(line, query) for line in lines)
    return content if query.limit_bytes is None else content[: query.limit_bytes]


def render(line: bytes, query: LogQuery) -> bytes:
    """One stored line as the client wants it."""
    return (line if query.timestamps else line.partition(b" ")[2]) + b"\n"
