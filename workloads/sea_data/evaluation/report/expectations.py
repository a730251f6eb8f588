"""What a task expects, each item marked with whether the episode did it; for the reader only.

The verdict's rules decide (`verify`); this shows where a dialogue left the expected path.
"""

from typing import Any

from sea_data.evaluation.records import EpisodeRecord
from sea_env.tasks.task import Action
from sea_env.verify.actions import made_all
from sea_env.verify.said import communicated

Marked = dict[str, list[dict[str, Any]]]


def marked(record: EpisodeRecord) -> Marked:
    """`{"actions": [{name, arguments, done}], "communicate": [{text, done}]}`."""
    actions = [a for a in _listed(record, "actions") if _is_action(a)]
    pieces = [str(piece) for piece in _listed(record, "communicate")]
    return {
        "actions": [_action(action, record) for action in actions],
        "communicate": [
            {"text": piece, "done": communicated([piece], record.transcript)} for piece in pieces
        ],
    }


def _listed(record: EpisodeRecord, name: str) -> list[Any]:
    """Whatever wrote the file: what is no list is nothing to show."""
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
