"""A dialogue at the level of messages: who speaks next, what tools answer, when it is over.

`open_conversation` starts one from a task; `Episode` adds tokens to it; the generator of SFT
dialogues uses it as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from sea_env.domains import initial_state
from sea_env.domains.base import Domain, Environment
from sea_env.domains.database import Database
from sea_env.domains.initial_state import InitialStateError
from sea_env.episodes.limits import Limits, LoopDetector, Stop
from sea_env.tasks.task import Task
from sea_env.tokens.messages import AgentTurn, Message, ToolCall, calls_of
from sea_env.users.base import Reply, Signal, signal_in, spoken
from sea_env.users.prompt import GREETING

_STOPS = {
    Signal.STOP: Stop.USER_STOP,
    Signal.TRANSFER: Stop.TRANSFER,
    Signal.OUT_OF_SCOPE: Stop.OUT_OF_SCOPE,
}


@dataclass(frozen=True)
class UserNext:
    """The user speaks next; `heard` is what it has heard and said so far."""

    heard: Sequence[Message]


@dataclass(frozen=True)
class AgentNext:
    """The agent speaks next, after a user text or after tool results (one of the two is set)."""

    user_text: str = ""
    results: Sequence[str] = ()


@dataclass(frozen=True)
class Over:
    """The dialogue has ended."""

    stop: Stop


Next = UserNext | AgentNext | Over


class Conversation:
    """The messages of one episode and the environment they act on."""

    def __init__(
        self,
        domain: Domain,
        environment: Environment,
        limits: Limits,
        history: Sequence[Message] = (),
    ) -> None:
        """`history`: the messages the episode begins with (`initial_state.messages`)."""
        self.environment = environment
        self.messages: list[dict[str, Any]] = [dict(message) for message in history]
        # A history has its own beginning (tau2-bench's `Orchestrator.initialize`).
        self._greets = limits.greeting and not history
        if self._greets:
            self.messages.append({"role": "assistant", "content": GREETING})
        self.turns = 0
        self._limits = limits
        self._tools = domain.tools
        # Per episode, not per turn.
        self._bad_turns_left = domain.max_bad_turns
        self._user_calls = 0
        self._loop = LoopDetector(limits.max_repeats)
        self._tool_errors = 0
        self._steps = 0

    @property
    def parameters(self) -> dict[str, Mapping[str, Any]]:
        """JSON schema of the arguments, by name of the agent's tool."""
        return {tool.name: tool.parameters for tool in self._tools}

    def start(self) -> Next:
        """Who speaks first: the user, unless a history decides otherwise."""
        if not self.messages or self._greets:
            return UserNext(())
        last = self.messages[-1]
        if last["role"] == "user":
            return self._heard(str(last["content"]))
        if last["role"] == "tool" and not _is_users_own(last):
            return AgentNext(results=_trailing_results(self.messages))
        return self._user_next()

    def _user_next(self) -> UserNext:
        return UserNext(spoken(self.messages[1:] if self._greets else self.messages))

    def user(self, reply: Reply) -> Next:
        """Adds the user's text, or makes its calls; a signal in a text ends the dialogue."""
        turn = AgentTurn(reply) if isinstance(reply, str) else reply
        # The user's own calls first: their text, if any, isn't heard by the agent.
        if turn.tool_calls or turn.error:
            return self._act(turn)
        self._user_calls = 0
        self._steps += 1
        said = _last_words(self.messages)
        self.messages.append({"role": "user", "content": turn.text})
        # Before the loop check: an ending that the user asked for takes precedence.
        following = self._heard(turn.text)
        looping = not isinstance(following, Over) and self._loop.talk(said, turn.text)
        return Over(Stop.LOOP) if looping else following

    def _heard(self, text: str) -> Next:
        signal = signal_in(text)
        if signal is None:
            return self._agent(AgentNext(user_text=text))
        return self._limited(Over(_STOPS[signal]))

    def _act(self, turn: AgentTurn) -> Next:
        """Makes the user's own calls; results go back to the user, unseen by the agent."""
        calls = [call.as_dict() for call in turn.tool_calls]
        message: dict[str, Any] = {"role": "user", "content": turn.text}
        self.messages.append(message | ({"error": turn.error} if turn.error else {}))
        if calls:
            self.messages[-1]["tool_calls"] = calls
        results = [self._call(call, "user") for call in turn.tool_calls]
        results = results or [f"Error: {turn.error}"]
        # The calls and their results, a step each, as for the agent (`agent`, `_answer`).
        self._steps += 2
        self.messages += [
            {"role": "tool", "requestor": "user", "content": content} for content in results
        ]
        # Counted after the calls were made: the last allowed turn still has its effect.
        self._user_calls += 1
        if self._user_calls > self._limits.max_user_calls:
            return Over(Stop.USER_STUCK)
        return self._limited(self._user_next())

    def agent(self, turn: AgentTurn) -> Next:
        """Adds the agent's turn: its calls are made, its text goes to the user."""
        # Bad turns count as well: an agent that never writes a good one must reach the limit.
        self.turns += 1
        self._steps += 1
        self.messages.append(turn.as_message())
        if turn.error:
            return self._bad(turn)
        if not turn.tool_calls:
            return self._limited(self._user_next())
        results = [self._call(call) for call in turn.tool_calls]
        # The results are in the transcript even if the loop ends the dialogue.
        following = self._answer(results)
        return Over(Stop.LOOP) if self._looping(turn, results) else following

    def _bad(self, turn: AgentTurn) -> Next:
        self.messages[-1]["error"] = turn.error
        # A truncated turn can't be answered: the agent wasn't finished.
        if not turn.complete:
            return Over(Stop.CONTEXT_FULL if turn.context_full else Stop.TURN_TOO_LONG)
        if self._bad_turns_left < 1:
            return Over(Stop.BAD_FORMAT)
        self._bad_turns_left -= 1
        self._tool_errors += 1
        return self._answer([f"Error: {turn.error}"])

    def _call(self, call: ToolCall, requestor: str = "assistant") -> str:
        result = self.environment.call(call.name, call.arguments, requestor)
        self._tool_errors += result.error
        return result.content

    def _answer(self, results: Sequence[str]) -> Next:
        self.messages += [{"role": "tool", "content": content} for content in results]
        self._steps += 1
        return self._agent(AgentNext(results=results))

    def _agent(self, following: AgentNext) -> Next:
        if self.turns >= self._limits.max_turns:
            return Over(Stop.MAX_TURNS)
        return self._limited(following)

    def _limited(self, following: Next) -> Next:
        """What follows, unless a limit of the whole dialogue is reached."""
        limits = self._limits
        if limits.max_tool_errors is not None and self._tool_errors >= limits.max_tool_errors:
            return Over(Stop.TOOL_ERRORS)
        if limits.max_messages is not None and self._steps >= limits.max_messages:
            return Over(Stop.MAX_MESSAGES)
        return following

    def _looping(self, turn: AgentTurn, results: Sequence[str]) -> bool:
        steps = zip(turn.tool_calls, results, strict=True)
        return any(self._loop.call(c.name, c.arguments, text) for c, text in steps)


def open_environment(domain: Domain, database: Database, task: Task) -> Environment:
    """The task's environment with its initial state set up.

    `database` is the one that the task's row names. Raises InitialStateError naming the task.
    """
    try:
        return domain.open(initial_state.begin(domain, database, task.initial_state))
    except InitialStateError as error:
        raise InitialStateError(
            f"The initial_state of task {task.key} can't be set up: {error}"
        ) from error


def open_conversation(
    domain: Domain, database: Database, task: Task, limits: Limits
) -> Conversation:
    """The task's conversation so far, on a fresh environment. Raises InitialStateError."""
    environment = open_environment(domain, database, task)
    return Conversation(domain, environment, limits, initial_state.messages(task.initial_state))


def agent_view(messages: Sequence[Message]) -> list[Message]:
    """The messages without the user's own calls and their results (`users.base.spoken` is the
    user's view)."""
    return [message for message in messages if not _is_users_own(message)]


def _is_users_own(message: Message) -> bool:
    """True for a call of the user, a malformed one, or the result of one."""
    if message["role"] == "tool":
        return message.get("requestor") == "user"
    return message["role"] == "user" and bool(calls_of(message) or message.get("error"))


def _trailing_results(messages: Sequence[Message]) -> list[str]:
    """The tool results that a dialogue ends with, oldest first."""
    found = takewhile(lambda message: message["role"] == "tool", reversed(messages))
    return [str(message["content"]) for message in found][::-1]


def _last_words(messages: Sequence[Message]) -> str:
    """The agent's last text to the user; empty if there is none."""
    said = (m for m in reversed(messages) if m["role"] == "assistant" and not calls_of(m))
    return str(next(said, {"content": ""})["content"])
