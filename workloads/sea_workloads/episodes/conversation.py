"""A dialogue at the level of messages: who speaks next, what tools answer, when it is over.

`Episode` adds tokens to it; the generator of SFT dialogues uses it as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sea_workloads.domains.base import Domain, Environment
from sea_workloads.episodes.limits import Limits, Stop
from sea_workloads.episodes.repetition import Repetition
from sea_workloads.tokens.messages import AgentTurn, Message
from sea_workloads.users.base import Signal, signal_in, spoken

_STOPS = {
    Signal.STOP: Stop.USER_STOP,
    Signal.TRANSFER: Stop.TRANSFER,
    Signal.OUT_OF_SCOPE: Stop.OUT_OF_SCOPE,
}


@dataclass(frozen=True)
class UserNext:
    """The user is to speak; `heard` is what it has heard and said so far."""

    heard: Sequence[Message]


@dataclass(frozen=True)
class AgentNext:
    """The agent is to speak, after a user text or after tool results (one of the two is set)."""

    user_text: str = ""
    results: Sequence[str] = ()


@dataclass(frozen=True)
class Over:
    """The dialogue has ended."""

    stop: Stop


Next = UserNext | AgentNext | Over


class Conversation:
    """The messages of one episode and the world they act on."""

    def __init__(self, domain: Domain, environment: Environment, limits: Limits) -> None:
        self.environment = environment
        self.messages: list[dict[str, Any]] = []
        self.turns = 0
        self._limits = limits
        self._bad_turns_left = domain.max_bad_turns
        self._repetition = Repetition(limits.max_repeats)

    def start(self) -> Next:
        """The user speaks first."""
        return UserNext(())

    def user(self, text: str) -> Next:
        """The user said this; a signal in it ends the dialogue."""
        said = str(self.messages[-1]["content"]) if self.messages else ""
        self.messages.append({"role": "user", "content": text})
        signal = signal_in(text)
        if signal is not None:
            return Over(_STOPS[signal])
        if self._repetition.talk(said, text):
            return Over(Stop.LOOP)
        return self._agent(AgentNext(user_text=text))

    def agent(self, turn: AgentTurn) -> Next:
        """The agent's turn: its calls are made, its text goes to the user."""
        self.turns += 1
        self.messages.append(turn.as_message())
        if turn.error:
            return self._bad(turn)
        if not turn.tool_calls:
            return UserNext(spoken(self.messages))
        results = [self.environment.call(c.name, c.arguments).content for c in turn.tool_calls]
        following = self._answer(results)
        return Over(Stop.LOOP) if self._looping(turn, results) else following

    def _bad(self, turn: AgentTurn) -> Next:
        self.messages[-1]["error"] = turn.error
        if not turn.complete:
            return Over(Stop.TURN_TOO_LONG)
        if self._bad_turns_left < 1:
            return Over(Stop.BAD_FORMAT)
        self._bad_turns_left -= 1
        return self._answer([f"Error: {turn.error}"])

    def _answer(self, results: Sequence[str]) -> Next:
        self.messages += [{"role": "tool", "content": content} for content in results]
        return self._agent(AgentNext(results=results))

    def _agent(self, following: AgentNext) -> Next:
        return Over(Stop.MAX_TURNS) if self.turns >= self._limits.max_turns else following

    def _looping(self, turn: AgentTurn, results: Sequence[str]) -> bool:
        steps = zip(turn.tool_calls, results, strict=True)
        return any(self._repetition.call(c.name, c.arguments, text) for c, text in steps)
