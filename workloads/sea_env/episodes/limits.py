"""How far an episode may go, and the words for why it ended."""

from dataclasses import dataclass
from enum import StrEnum


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
    """The agent repeated the very same step, and the world its answer."""
    USER_STUCK = "UserStuck"
    """The user went on making calls of its own without a word to the agent."""


ENDED_BY_USER = frozenset({Stop.USER_STOP, Stop.TRANSFER, Stop.OUT_OF_SCOPE})


@dataclass(frozen=True)
class Limits:
    """Caps of one episode, in tokens and agent turns."""

    max_turns: int
    max_tokens_per_turn: int
    context_length: int
    max_repeats: int = 3
    """Identical calls with identical results (or texts with identical answers) in a row that end
    the episode."""
    max_user_calls: int = 30
    """A user's turns with calls of its own between two texts; one more ends the episode."""
