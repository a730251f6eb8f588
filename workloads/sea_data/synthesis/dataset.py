"""Writes the journal's accepted items as a data set in the published layout.

rl.jsonl                 tasks with verification function and provenance
sft.jsonl                their dialogues, one row each
databases/<domain>/...   the databases and the policy
report.json              cost and yield of every plan
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sea_data.formats import jsonl
from sea_data.synthesis import report
from sea_data.synthesis.journal import Journal
from sea_data.synthesis.run_state import RunState
from sea_data.synthesis.source_database import SourceDatabase

TASKS, DIALOGUES, REPORT = "rl.jsonl", "sft.jsonl", "report.json"


def write(
    folder: Path, journal: Journal, sources: Sequence[SourceDatabase], state: RunState
) -> None:
    """Writes all files. Each appears whole or not at all, and writing again is safe."""
    for source in sources:
        for path, body in source.files.items():
            _replace(folder / path, iter([body]))
    prompt = sources[0].system_prompt
    _replace(folder / TASKS, _lines(journal, lambda event: event["task"]))
    _replace(folder / DIALOGUES, _lines(journal, lambda event: _prompted(event, prompt)))
    body = json.dumps(report.as_dict(state), indent=1).encode()
    _replace(folder / REPORT, iter([body + b"\n"]))


def _lines(journal: Journal, row: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[bytes]:
    # Replays the journal, so that repeated events yield one row, as in the run itself.
    seen = RunState()
    for event in journal.events():
        if seen.apply(event) and "task" in event:
            yield jsonl.dumps(row(event)).encode()


def _prompted(event: dict[str, Any], prompt: str) -> dict[str, Any]:
    """The dialogue's row with its system prompt, which the journal leaves out."""
    row = event["dialogue"]
    assert row["messages"][0]["role"] == "system"
    row["messages"][0]["content"] = prompt
    found: dict[str, Any] = row
    return found


def _replace(path: Path, pieces: Iterator[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A reader sees the old file or the whole new one.
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.writelines(pieces)
    partial.replace(path)
