"""An item: one attempt at a plan, and its result: an accepted task with its dialogue, or a failure.

The engine hands items to a backend and records each result in the journal. A failure names who is
to blame, so that reflection rewrites the right half of a plan.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sea_api.v1alpha1.domains import file_name
from sea_data.errors import DataError
from sea_data.synthesis.plan import Plan, digest

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
    """Of all agents' requests and replies, as the endpoint counts them."""
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
    """Of what defines the task; two tasks with equal digests are the same task."""
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
