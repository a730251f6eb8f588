"""Records -> the JSON that the page's script reads: one small index, one body an episode.

Bodies are elements of their own, so that the browser parses a transcript only when it is opened:
a page of 2,000 transcripts starts as fast as one of 20.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sea_data.evaluation.failures import Failure, classify
from sea_data.evaluation.records import EpisodeRecord
from sea_data.evaluation.report.expectations import marked
from sea_data.evaluation.report.markup import Html, embedded
from sea_env.tokens.messages import calls_of

LONGEST_TEXT = 20_000
"""Characters of one text or argument; more is cut, and says so."""
MOST_BYTES = 64 * 2**20
"""Of all bodies together. Failed episodes are embedded first; the index always holds all."""


def index(records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    """What the list shows and filters by, one entry an episode."""
    return [_entry(record) for record in records]


def bodies(records: Sequence[EpisodeRecord], most: int = MOST_BYTES) -> Iterator[Html]:
    """`<script id="e0">`, ... in the order in which they are embedded."""
    order = sorted(range(len(records)), key=lambda number: records[number].passed is not False)
    left = most
    for number in order:
        body = embedded(_body(records[number]), f"e{number}")
        left -= len(body)
        if left < 0:
            return
        yield body


def _entry(record: EpisodeRecord) -> dict[str, Any]:
    kind = classify(record)
    return {
        "domain": record.domain,
        "task": record.task or record.row,
        "row": record.key[1],
        "trial": record.trial,
        "outcome": _outcome(kind),
        "kind": kind,
        "request": record.request[:240],
        "turns": record.turns,
        "calls": sum(len(calls_of(message)) for message in record.transcript),
    }


def _outcome(kind: Failure | None) -> str:
    if kind is None:
        return "passed"
    return "unjudged" if kind is Failure.INFRASTRUCTURE else "failed"


def _body(record: EpisodeRecord) -> dict[str, Any]:
    return {
        "facts": {
            "ended by": record.stop,
            "seed": record.seed,
            "generated tokens": record.generated_tokens,
            "seconds": round(record.seconds, 1),
            "attempts": record.attempts,
            "weights": record.weight_version,
            "database": record.database.rpartition("/")[2],
        },
        "error": record.error,
        "details": _cut(dict(record.details)),
        "expected": _cut(marked(record)),
        "messages": [_message(message) for message in record.transcript],
    }


def _message(message: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"role": message["role"], "content": _cut(message.get("content") or "")}
    calls = [
        {"name": call.get("name"), "arguments": _cut(call.get("arguments"))}
        for call in calls_of(message)
    ]
    more = (
        ("calls", calls),
        ("error", message.get("error")),
        ("thinking", message.get("thinking")),
    )
    for name, value in more:
        if value:
            shown[name] = _cut(value)
    return shown


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return _shortened(value)
    if isinstance(value, dict):
        return {_shortened(str(key)): _cut(item) for key, item in value.items()}
    return [_cut(item) for item in value] if _is_list(value) else value


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | dict)


def _shortened(value: str) -> str:
    more = len(value) - LONGEST_TEXT
    if more <= 0:
        return value
    return f"{value[:LONGEST_TEXT]}\n[... {more:,} more characters in the episodes file]"
