"""Everything that a finished demo knows about its run."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """`rows` are the coordinator's step rows, `timeline` its spans (unix seconds)."""

    seconds: float
    ready_seconds: float | None
    status: dict[str, Any]
    rows: list[dict[str, Any]]
    timeline: list[dict[str, Any]]
