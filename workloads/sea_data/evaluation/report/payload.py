"""Records -> the JSON that the page's script reads: one small index, one body per episode.

Bodies are elements of their own, so that the browser parses a transcript only when it is opened:
a page of 2,000 transcripts starts as fast as one of 20.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from markupsafe import Markup

from sea_data.evaluation.failures import Failure, classify
from sea_data.evaluation.records import EpisodeRecord
from sea_env.tasks.task import Action
from sea_env.tokens.messages import calls_of
from sea_env.verify.checks import communicated, made_all

LONGEST_TEXT = 20_000
"""Characters of one text or argument; more is cut, and says so."""
MOST_BYTES = 64 * 2**20
"""Bound on all bodies together. Failed episodes are embedded first; the index always holds all."""


_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def index(records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    """What the list shows and filters by, one entry an episode."""
    return [_entry(record) for record in records]


def bodies(records: Sequence[EpisodeRecord], most: int = MOST_BYTES) -> Iterator[Markup]:
    """`<script id="e0">`, ... in the order in which they are embedded."""
    order = sorted(range(len(records)), key=lambda number: records[number].passed is not False)
    left = most
    for number in order:
        body = embedded(_body(records[number]), f"e{number}")
        left -= len(body)
        if left < 0:
            return
        yield body


def embedded(value: Any, identity: str) -> Markup:
    """JSON in a script element that never runs.

    `<` and `&` are written as JSON escapes, so no text in it can close the element.
    """
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    for character, escape in _UNSAFE.items():
        body = body.replace(character, escape)
    # Lone surrogates are valid in JSON's escapes only; UTF-8 has no way to write them.
    body = body.encode("utf-8", "replace").decode("utf-8")
    start = Markup('<script type="application/json" id="{}">').format(identity)
    return start + Markup(body + "</script>\n")  # noqa: S704 - escaped above


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
        "expected": _cut(_marked(record)),
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


def _marked(record: EpisodeRecord) -> dict[str, list[dict[str, Any]]]:
    """What the task expects, each item marked with whether the episode did it.

    For readers only, to show where a dialogue left the expected path; `verify` gives the verdict.
    `{"actions": [{name, arguments, done}], "communicate": [{text, done}]}`.
    """
    actions = [a for a in _listed(record, "actions") if _is_action(a)]
    pieces = [str(piece) for piece in _listed(record, "communicate")]
    return {
        "actions": [_action(action, record) for action in actions],
        "communicate": [
            {"text": piece, "done": communicated([piece], record.transcript)} for piece in pieces
        ],
    }


def _listed(record: EpisodeRecord, name: str) -> list[Any]:
    """The list of that name; empty if a foreign file holds something else there."""
    found = record.expected.get(name)
    return found if isinstance(found, list) else []


def _is_action(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)


def _action(given: dict[str, Any], record: EpisodeRecord) -> dict[str, Any]:
    arguments, compared = given.get("arguments"), given.get("compare_args")
    action = Action(
        given["name"],
        arguments if isinstance(arguments, dict) else {},
        given.get("requestor") or "assistant",
        [str(name) for name in compared] if isinstance(compared, list) else None,
    )
    shown = {"name": action.name, "arguments": dict(action.arguments)}
    if action.requestor != "assistant":
        shown["by"] = action.requestor
    return {**shown, "done": made_all([action], record.transcript)}
