"""A plan: one corner of a domain that tasks are made for. Plans of a run never overlap."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class ToolMode(StrEnum):
    """What the customer knows, and so how much the agent has to look up."""

    GIVEN = "given"
    """Ids are told: the agent goes straight to the record."""
    SEARCH = "search"
    """Things are described in words: the agent searches for the record first."""


class Style(StrEnum):
    """How the customer talks."""

    TERSE = "terse"
    POLITE = "polite"
    CHATTY = "chatty"
    IMPATIENT = "impatient"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Plan:
    """What to make. `guidance` and `evaluation` are for models; procedural workers ignore them."""

    id: str
    domain: str
    goals: tuple[str, ...]
    """What the customer wants, in order; their number is the task's complexity."""
    mode: ToolMode
    style: Style
    guidance: str = ""
    """The synthesis prompt's part of the plan."""
    evaluation: str = ""
    """The evaluation prompt's part of the plan: what checkers should mind."""
    revision: int = 1
    """Counts reflections that rewrote the plan."""

    @property
    def complexity(self) -> int:
        return len(self.goals)

    @property
    def corner(self) -> tuple[object, ...]:
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


@dataclass(frozen=True)
class Item:
    """One thing to make: the `index`-th of a plan's revision. The same item, the same seed."""

    plan: Plan
    round: int
    index: int
    seed: int = field(default=0)

    @property
    def key(self) -> str:
        """Unique in a run; names the item in journal and provenance."""
        return f"{self.plan.id}.{self.plan.revision}.{self.index}"

    @property
    def random_seed(self) -> str:
        """Seeds everything random about the item."""
        return f"{self.seed}/{self.plan.domain}/{self.key}/{digest(self.plan.corner)}"


def digest(value: object) -> str:
    """Sixteen hex digits that depend on the value's content."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
