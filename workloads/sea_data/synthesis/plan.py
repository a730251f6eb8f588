"""A plan: one combination of goals, tool mode and customer style that tasks are made for.

The planner of a backend writes plans, the engine makes items of them, reflection rewrites them.
No two plans of a run overlap.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class ToolMode(StrEnum):
    """What the customer knows, and so how much the agent has to look up."""

    GIVEN = "given"
    """The customer states ids: the agent goes straight to the record."""
    SEARCH = "search"
    """The customer describes things in words: the agent searches for the record first."""


class Style(StrEnum):
    """How the customer talks."""

    TERSE = "terse"
    POLITE = "polite"
    CHATTY = "chatty"
    IMPATIENT = "impatient"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Plan:
    """What to make. `guidance` and `evaluation` are for models; procedural backends ignore them."""

    id: str
    domain: str
    goals: tuple[str, ...]
    """What the customer wants, in order; their number is the task's complexity."""
    mode: ToolMode
    style: Style
    guidance: str = ""
    """Instructions for the task worker."""
    evaluation: str = ""
    """Instructions for the checkers."""
    revision: int = 1
    """Incremented each time reflection rewrites the plan."""

    @property
    def complexity(self) -> int:
        return len(self.goals)

    @property
    def key(self) -> tuple[object, ...]:
        """What must differ between any two plans of a run."""
        return (self.domain, self.goals, self.mode, self.style, self.guidance.strip().lower())

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> "Plan":
        given = dict(value)
        given["goals"] = tuple(given["goals"])
        given["mode"], given["style"] = ToolMode(given["mode"]), Style(given["style"])
        return Plan(**given)


def digest(value: object) -> str:
    """Sixteen hex digits of the SHA-256 of the value's JSON, keys sorted."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
