"""Files that hold dialogues, from any source, as episode records.

Lines of an evaluation, published `sft` rows (`messages` with `answer`), or one JSON document with
either or with a list of messages.
"""

from collections.abc import Mapping
from typing import Any

from sea_data.errors import RowError
from sea_data.evaluation.records import EpisodeRecord, from_row
from sea_data.formats import jsonl, row_fields
from sea_env.tokens import plain_json


def read(data: bytes, file: str, domain: str = "") -> list[EpisodeRecord]:
    """All dialogues of the file's content; `domain` is for those that name none. Raises RowError.

    `file` is the name in messages.
    """
    rows = _document(data) or list(jsonl.objects(data.split(b"\n"), file))
    found = []
    for number, row in rows:
        if isinstance(row, RowError):
            raise row
        try:
            found.append(_record(row, domain, number))
        except RowError as error:
            raise error.at(file, number) from error
    if not found:
        raise RowError("", "holds no dialogue", file, 1)
    return found


def _document(data: bytes) -> list[tuple[int, dict[str, Any] | RowError]]:
    """A file that is one JSON value; empty for one that isn't (JSONL, or broken)."""
    try:
        value = plain_json.loads(data.decode("utf-8-sig"))
    except ValueError:
        return []
    if isinstance(value, list) and all(isinstance(m, dict) and "role" in m for m in value):
        value = {"messages": value}
    rows = value if isinstance(value, list) else [value]
    return [(number, row) for number, row in enumerate(rows, start=1) if isinstance(row, dict)]


def _record(row: Mapping[str, Any], domain: str, number: int) -> EpisodeRecord:
    if "transcript" in row:
        return from_row(row)
    if "messages" not in row:
        raise RowError("messages", "is missing: this is neither an episode nor a dialogue")
    return _dialogue(row, domain, number)


def _is_system(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "system"


def _dialogue(row: Mapping[str, Any], domain: str, number: int) -> EpisodeRecord:
    metadata = row_fields.typed_field(row, "metadata", dict)
    scenario = row_fields.typed_field(metadata, "user_scenario", dict, "metadata.")
    instructions = scenario.get("instructions")
    named = instructions.get("domain") if isinstance(instructions, dict) else None
    identity = str(metadata.get("source_dialog_id") or row.get("id") or f"line {number}")
    answer = row.get("answer")
    messages = [*row_fields.typed_field(row, "messages", list), *([answer] if answer else [])]
    return from_row(
        {
            "domain": named or domain or identity.split("_")[0],
            "task": identity,
            "row": f"line {number}",
            "reward": metadata.get("reward"),
            "request": metadata.get("reason_for_call"),
            "transcript": [m for m in messages if not _is_system(m)],
        }
    )
