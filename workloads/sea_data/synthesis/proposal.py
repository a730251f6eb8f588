"""What a domain's worker hands over: the narrow interface between a domain and the engine."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sea_data.synthesis.plan import Plan
from sea_env.tasks.task import Action, Assertion

Message = dict[str, Any]


class NothingFitsError(Exception):
    """The world holds nobody whom the plan would fit: the task's fault, told to reflection."""


@dataclass(frozen=True)
class Proposal:
    """A task with a dialogue that solves it, made by real calls and not yet checked."""

    purpose: str
    scenario: Mapping[str, Any]
    """`user_scenario` of the row."""
    actions: Sequence[Action]
    messages: Sequence[Message]
    """The dialogue without a system prompt; ends with the user's signal."""
    communicate: Sequence[str] = ()
    assertions: Sequence[Assertion] = ()
    initial_state: Mapping[str, Any] | None = None
    basis: Sequence[str] = ("DB", "COMMUNICATE")


class Workshop(Protocol):
    """A domain's procedural worker over one database."""

    goals: Sequence[str]
    """What its customers may want; plans are combinations of these."""
    most_goals: int
    """Of one plan."""

    def fits(self, goals: Sequence[str]) -> bool:
        """Whether the goals make sense together."""
        ...

    def propose(self, plan: Plan, rng: random.Random) -> Proposal:
        """Raises NothingFitsError or ToolRefusedError; both are the task's fault."""
        ...
