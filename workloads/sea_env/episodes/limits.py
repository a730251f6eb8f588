"""How far an episode may go, why it ended, and when it is stuck in a loop. Pure.

`Conversation` applies the limits and reports the `Stop`; verifiers score only what the user ended.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sea_api import limits


class Stop(StrEnum):
    """Why an episode ended. Only the user's own endings can earn a reward."""

    USER_STOP = "UserStop"
    TRANSFER = "Transfer"
    OUT_OF_SCOPE = "OutOfScope"
    MAX_TURNS = "MaxTurns"
    CONTEXT_FULL = "ContextFull"
    BAD_FORMAT = "BadFormat"
    """The agent wrote something that is neither text nor a well-formed tool call."""
    TURN_TOO_LONG = "TurnTooLong"
    """A turn reached its token limit before its end tag."""
    LOOP = "Loop"
    """The agent repeated the same step and got the same answer each time."""
    MAX_MESSAGES = "MaxMessages"
    """The dialogue reached its limit of messages."""
    TOOL_ERRORS = "ToolErrors"
    """Too many tool calls ended in an error."""
    USER_STUCK = "UserStuck"
    """The user kept making calls of its own without a word to the agent."""


ENDED_BY_USER = frozenset({Stop.USER_STOP, Stop.TRANSFER, Stop.OUT_OF_SCOPE})


def never_asked(stop: Stop) -> str:
    """Why an episode that ended without a turn of the agent has no verdict.

    A reward would be about nothing that the agent did: 9.5 % of tau2-bench's retail tasks pass if
    the user stops first, since they ask for no change.
    """
    if stop is Stop.CONTEXT_FULL:
        return (
            "The agent never had a turn: its first prompt doesn't fit the context. Raise the "
            "context length, or shorten the policy and the list of tools."
        )
    return (
        f"The agent never had a turn: the user ended the dialogue first ({stop}). Give the agent a "
        "user that talks: another user model or endpoint."
    )


@dataclass(frozen=True)
class Limits:
    """Limits of one episode, in tokens and agent turns."""

    max_turns: int
    max_tokens_per_turn: int
    context_length: int
    max_repeats: int = limits.MAX_REPEATS
    """Identical calls with identical results (or texts with identical answers) in a row that end
    the episode; 0: none do."""
    max_messages: int | None = None
    """Messages of user, agent and tools together, the results of one turn's calls counting once
    (tau2-bench's steps), without those of a task's history; the last of them ends the episode, also
    if it is the user's farewell. None: any number."""
    max_tool_errors: int | None = None
    """Calls of agent and user that end in an error; the last of them ends the episode."""
    max_user_calls: int = 30
    """A user's turns with calls of its own between two texts; one more ends the episode."""
    greeting: bool = False
    """The agent's context begins with a greeting of its own, as in tau2-bench; the user's never
    does: a user model that needs an opening gets it from its own prompt."""


_NEVER = 1 << 30


def tau2_protocol(max_tokens_per_turn: int, context_length: int) -> Limits:
    """The rules of tau2-bench's orchestrator and their defaults (`tau2/config.py`): 200 steps, 10
    errors, a greeting; neither turns nor repeats nor a user's own calls end a dialogue."""
    return Limits(
        max_turns=_NEVER,
        max_tokens_per_turn=max_tokens_per_turn,
        context_length=context_length,
        max_repeats=0,
        max_messages=200,
        max_tool_errors=10,
        max_user_calls=_NEVER,
        greeting=True,
    )


class LoopDetector:
    """Counts identical steps in a row.

    A step is a tool call with its result, or an agent's text with the user's answer. An agent that
    polls something that changes, or whose user talks on, is not in a loop.
    """

    def __init__(self, max_repeats: int) -> None:
        """`max_repeats` identical steps in a row are a loop; 0: nothing is."""
        self._max_repeats = max_repeats
        self._last: tuple[str, ...] = ()
        self._count = 0

    def call(self, name: str, arguments: Mapping[str, Any], result: str) -> bool:
        """True if this call completes a loop."""
        # sort_keys: equal arguments in another order are the same call.
        return self._step("call", name, json.dumps(arguments, sort_keys=True), result)

    def talk(self, agent: str, user: str) -> bool:
        """True if this exchange completes a loop."""
        return self._step("talk", agent, user)

    def _step(self, *step: str) -> bool:
        self._count = self._count + 1 if step == self._last else 1
        self._last = step
        return 0 < self._max_repeats <= self._count
