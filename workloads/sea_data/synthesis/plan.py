"""A plan: one combination of goals, tool mode and customer style that tasks are made for.

The planner of a backend writes plans, the engine makes items of them, reflection rewrites them.
No two plans of a run overlap. An item is one attempt at a plan; its result is an accepted task with
its dialogue, or a failure that names who is to blame, so that reflection rewrites the right half of
the plan. The journal records each result.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from sea_api.v1alpha1.domains import file_name
from sea_data.errors import DataError


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


_MAX_REASON = 400
"""Characters."""


@dataclass(frozen=True)
class Item:
    """The `index`-th attempt at a plan's revision. Equal items have equal random seeds."""

    plan: Plan
    round: int
    index: int
    seed: int = 0
    """The run's seed."""

    @property
    def key(self) -> str:
        """Unique in a run; names the item in journal and provenance."""
        return f"{self.plan.id}.{self.plan.revision}.{self.index}"

    @property
    def row_id(self) -> str:
        """The id of the item's rows. Begins with the domain, as published ids do."""
        return f"{file_name(self.plan.domain)}_syn_{self.seed}_{self.key.replace('.', '_')}"

    @property
    def random_seed(self) -> str:
        """Seeds everything random about the item."""
        return f"{self.seed}/{self.plan.domain}/{self.key}/{digest(self.plan.key)}"

    def provenance(self, model: str) -> dict[str, Any]:
        """Where the item's rows come from, for their `provenance` field."""
        return {
            "plan": self.plan.id,
            "revision": self.plan.revision,
            "goals": list(self.plan.goals),
            "round": self.round,
            "item": self.key,
            "seed": self.seed,
            "model": model,
        }


class Blame(StrEnum):
    """Who a failure is attributed to."""

    TASK = "task"
    """The task is wrong: it can't be solved, contradicts itself, or repeats another."""
    TRAJECTORY = "trajectory"
    """The task is right; the dialogue did not solve it."""
    INFRASTRUCTURE = "infrastructure"
    """The endpoint or the sandbox gave no answer for this item: a plan can't fix that."""


@dataclass(frozen=True)
class Cost:
    """What an item took."""

    tokens: int = 0
    """Tokens of all agents' requests and replies, as the endpoint counts them."""
    seconds: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.tokens + other.tokens, self.seconds + other.seconds)


@dataclass(frozen=True)
class Accepted:
    """A verified task and its dialogue, as rows without provenance."""

    task: dict[str, Any]
    """`rl` row."""
    dialogue: dict[str, Any]
    """`sft` row. Its system message is empty, since it is the same thousands of tokens in each;
    `dataset` fills it in."""
    digest: str
    """Digest of what defines the task; two tasks with equal digests are the same task."""
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class Failure:
    """An item that yielded no rows."""

    blame: Blame
    reason: str
    cost: Cost = field(default_factory=Cost)


ItemResult = Accepted | Failure


class TaskFaultError(DataError):
    """The task can't be made or solved as its plan wants it: `Blame.TASK`."""


class TrajectoryFaultError(DataError):
    """The dialogue doesn't earn the reward of its task: `Blame.TRAJECTORY`."""


def with_cost(result: ItemResult, cost: Cost) -> ItemResult:
    """The same result with its cost."""
    return replace(result, cost=cost)


def shorten_reason(reason: str) -> str:
    """A reason on one line, cut for a prompt: a model or a tool may give one of any length."""
    line = " ".join(reason.encode(errors="replace").decode().split())
    return line if len(line) <= _MAX_REASON else f"{line[:_MAX_REASON]}..."
