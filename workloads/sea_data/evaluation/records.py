"""One played episode as a line of `*.episodes.jsonl`: written by the coordinator and by
`sea evaluate`, read by scores, report and replay.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sea_api.v1alpha1.domains import LONGEST
from sea_data.errors import RowError
from sea_data.evaluation import passk
from sea_data.formats import jsonl, row_fields
from sea_env.tokens.messages import Message


@dataclass(frozen=True)
class EpisodeRecord:
    """One trial of one task. `reward` None means that no verdict was possible."""

    domain: str
    task: str
    """The task's id; ids may repeat."""
    row: str
    """What names the task uniquely: file and line."""
    trial: int
    seed: int
    reward: float | None
    error: str = ""
    """Why there is no reward, a sentence."""
    stop: str = ""
    turns: int = 0
    generated_tokens: int = 0
    weight_version: float | None = None
    """Mean version of the weights that generated it; None outside of a job."""
    attempts: int = 1
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)
    """The verifier's parts, e.g. {"DB": 1.0, "COMMUNICATE": 0.0}."""
    transcript: tuple[Message, ...] = ()
    request: str = ""
    """What the user wants, in the task's words."""
    expected: Mapping[str, Any] = field(default_factory=dict)
    """`actions` and `communicate` of the task: what a reader compares the dialogue with."""
    database: str = ""
    """Path or address of the task's database."""
    dropped: str = ""
    """Why no step trained on it, in a file of training dialogues that says so."""

    @property
    def passed(self) -> bool | None:
        """None without a verdict."""
        return None if self.reward is None else passk.succeeded(self.reward)

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes a trial unique in a file: domain, row, trial.

        Rows of two domains' folders may be called alike.
        """
        return self.domain, self.row or f"{self.domain}/{self.task}", self.trial

    def to_line(self) -> str:
        """One line of JSONL; the names are those of the coordinator's file."""
        body = {name: getattr(self, attribute) for name, attribute in _NAMES.items()}
        if self.dropped:
            body["dropped"] = self.dropped
        return json.dumps(body, default=str) + "\n"


_NAMES = {
    "task": "task",
    "row": "row",
    "domain": "domain",
    "trial": "trial",
    "seed": "seed",
    "attempts": "attempts",
    "reward": "reward",
    "error": "error",
    "stop": "stop",
    "turns": "turns",
    "generatedTokens": "generated_tokens",
    "weightVersion": "weight_version",
    "seconds": "seconds",
    "details": "details",
    "request": "request",
    "expected": "expected",
    "database": "database",
    "transcript": "transcript",
}
_TEXTS = ("task", "row", "error", "stop", "request", "database", "dropped")
_NUMBERS = ("trial", "seed", "turns", "generatedTokens", "weightVersion", "attempts", "seconds")
_FRACTIONS = ("weightVersion", "seconds")


def description(task: Mapping[str, Any]) -> dict[str, Any]:
    """`request` and `expected` of a task row, however broken the row is: it is only for readers."""
    scenario, criteria = task.get("user_scenario"), task.get("evaluation_criteria")
    instructions = scenario.get("instructions") if isinstance(scenario, dict) else None
    if isinstance(instructions, dict):
        instructions = instructions.get("reason_for_call") or instructions.get("task_instructions")
    given = criteria if isinstance(criteria, dict) else {}
    expected = {"actions": given.get("actions"), "communicate": given.get("communicate_info")}
    kept = {name: value for name, value in expected.items() if isinstance(value, list) and value}
    return {"request": str(instructions or ""), "expected": kept}


def from_row(row: Mapping[str, Any]) -> EpisodeRecord:
    """A parsed line; raises RowError naming the field. Absent fields keep their defaults."""
    domain, reward = row.get("domain"), row.get("reward")
    if not isinstance(domain, str) or not 0 < len(domain) <= LONGEST:
        raise RowError("domain", f"must be a string of 1 to {LONGEST} characters")
    if reward is not None and not isinstance(reward, int | float):
        raise RowError("reward", "must be a number or null")
    texts = {name: str(row[name]) for name in _TEXTS if row.get(name) is not None}
    numbers = {_NAMES[name]: _number(row, name) for name in _NUMBERS if row.get(name) is not None}
    return EpisodeRecord(
        domain=domain,
        reward=reward,
        details=row_fields.typed_field(row, "details", dict),
        expected=row_fields.typed_field(row, "expected", dict),
        transcript=_transcript(row),
        **{"task": "", "row": "", "trial": 0, "seed": 0, **texts, **numbers},
    )


def _number(row: Mapping[str, Any], name: str) -> Any:
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RowError(name, "must be a number")
    return value if name in _FRACTIONS else int(value)


def _transcript(row: Mapping[str, Any]) -> tuple[Message, ...]:
    found = row_fields.typed_field(row, "transcript", list)
    for index, message in enumerate(found):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise RowError(f"transcript[{index}]", "must be a message with a role")
        calls = row_fields.typed_field(message, "tool_calls", list, f"transcript[{index}].")
        if not all(isinstance(call, dict) for call in calls):
            raise RowError(f"transcript[{index}].tool_calls", "must be a list of objects")
    return tuple(found)


def read(data: Iterable[bytes], file: str) -> Iterator[EpisodeRecord | RowError]:
    """Every non-blank line of a file, as a record or as an error with its place."""
    for number, row in jsonl.objects(data, file):
        if isinstance(row, RowError):
            yield row
            continue
        try:
            yield from_row(row)
        except RowError as error:
            yield error.at(file, number)
