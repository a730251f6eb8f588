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
    USER_STUCK = "UserStuck"
    """The user kept making calls of its own without a word to the agent."""


ENDED_BY_USER = frozenset({Stop.USER_STOP, Stop.TRANSFER, Stop.OUT_OF_SCOPE})


@dataclass(frozen=True)
class Limits:
    """Limits of one episode, in tokens and agent turns."""

    max_turns: int
    max_tokens_per_turn: int
    context_length: int
    max_repeats: int = limits.MAX_REPEATS
    """Identical calls with identical results (or texts with identical answers) in a row that end
    the episode."""
    max_user_calls: int = 30
    """A user's turns with calls of its own between two texts; one more ends the episode."""


class LoopDetector:
    """Counts identical steps in a row.

    A step is a tool call with its result, or an agent's text with the user's answer. An agent that
    polls something that changes, or whose user talks on, is not in a loop.
    """

    def __init__(self, max_repeats: int) -> None:
        """`max_repeats` identical steps in a row are a loop."""
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
        return self._count >= self._max_repeats
