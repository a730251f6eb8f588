"""What becomes of an item: a made task with its dialogue, or a failure and who is to blame."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

_LONGEST_REASON = 400


class Blame(StrEnum):
    """Who a failure is attributed to, so that reflection rewrites the right half of a plan."""

    TASK = "task"
    """The task is wrong: it can't be solved, contradicts itself, or repeats another."""
    TRAJECTORY = "trajectory"
    """The task is right; the dialogue did not solve it."""
    INFRASTRUCTURE = "infrastructure"
    """The endpoint or the sandbox gave no answer for this item: nothing that a plan could mend."""


@dataclass(frozen=True)
class Cost:
    """What an item took."""

    tokens: int = 0
    """Of all agents' requests and replies, as the endpoint counts them."""
    seconds: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.tokens + other.tokens, self.seconds + other.seconds)


@dataclass(frozen=True)
class Made:
    """A verified task and dialogue, as rows without provenance."""

    task: dict[str, Any]
    """`rl` row."""
    dialogue: dict[str, Any]
    """`sft` row; its system message holds no text yet (the same thousands of tokens in each)."""
    digest: str
    """Of what makes the task itself; two equal ones are one task."""
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class Failure:
    """An item that came to nothing."""

    blame: Blame
    reason: str
    cost: Cost = field(default_factory=Cost)


Outcome = Made | Failure


def at_cost(outcome: Outcome, cost: Cost) -> Outcome:
    """The same outcome with what it took."""
    return replace(outcome, cost=cost)


def shortened(reason: str) -> str:
    """A reason on one line, cut for a prompt: a model's or a tool's may be of any length."""
    line = " ".join(reason.encode(errors="replace").decode().split())
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}..."
