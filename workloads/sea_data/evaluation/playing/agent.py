"""An agent behind any OpenAI-compatible endpoint: dialogue in, `AgentTurn` out.

What the model writes wrongly (arguments that aren't JSON, nothing at all, a call that its server
answers with an error) is its turn with an error; what the server does wrongly (time-outs, other
5xx, a parser that may be wrong, no chat completion) is an EndpointError.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from sea_data.evaluation.playing import chat_messages
from sea_env import leaked_calls
from sea_env.chat import ChatEndpoint, text_of
from sea_env.chat_reply import CUT, UNREADABLE
from sea_env.tokens import arguments, reader, tool_prompt
from sea_env.tokens.arguments import ArgumentsError
from sea_env.tokens.markup import IM_END, THINK, THINK_END
from sea_env.tokens.messages import (
    MAX_CALLS,
    TOO_MANY_CALLS,
    AgentTurn,
    Message,
    ToolCall,
)
from sea_env.tokens.style import Style, Thinking

_SHOWN = 2000


class Agent(Protocol):
    """The agent's side of one episode."""

    async def turn(self, messages: Sequence[Message]) -> AgentTurn:
        """The next turn after the dialogue so far (system prompt left out)."""
        ...


class EndpointAgent:
    """One episode's agent; the endpoint is shared by all."""

    def __init__(
        self,
        endpoint: ChatEndpoint,
        system: str,
        tools: Sequence[Mapping[str, Any]],
        *,
        native: bool = True,
        **extra: Any,
    ) -> None:
        """`native`: tools go into the request and calls come back as `tool_calls`; otherwise the
        system prompt describes them and calls come as Hermes tags in the text. `extra` goes into
        every request (seed, top_p, ...)."""
        self.tokens = 0
        self._endpoint, self._native, self._extra = endpoint, native, extra
        self._system = tool_prompt.split(system)[0] if native else system
        if native and tools:
            self._extra = {**extra, "tools": list(tools)}

    async def turn(self, messages: Sequence[Message]) -> AgentTurn:
        """Raises EndpointError, and ContextFullError where the dialogue has outgrown the model."""
        shown = chat_messages.native(messages) if self._native else chat_messages.tagged(messages)
        asked = [{"role": "system", "content": self._system}, *shown]
        return await self._endpoint.ask(asked, self._read, unreadable=_unreadable, **self._extra)

    def _read(self, message: dict[str, Any]) -> AgentTurn:
        """Raises ValueError if this isn't a chat completion's message."""
        usage = message.get("usage")
        used = usage.get("completion_tokens") if isinstance(usage, dict) else None
        self.tokens += used if isinstance(used, int) else 0
        return replace(read_turn(message), context_full=bool(message.get("shortened")))


def _unreadable(said: str) -> AgentTurn:
    words = f"The turn has a tool call that the server can't read: {said}"
    return AgentTurn("", (), True, words[:_SHOWN])


def read_turn(message: Mapping[str, Any]) -> AgentTurn:
    """Parses a chat completion's message; raises ValueError if it isn't one."""
    given = message.get("tool_calls") or []
    if not isinstance(given, list):
        raise ValueError("it answered tool_calls that are no list")
    old = message.get("function_call")  # the form before tool_calls
    if not given and isinstance(old, dict) and old.get("name"):  # blank where there is no call
        given = [{"function": old}]
    thinking = str(message.get("reasoning_content") or message.get("reasoning") or "")
    if message.get("finish_reason") == UNREADABLE:
        return _unreadable("it isn't well-formed.")
    whole = message.get("finish_reason") != CUT
    if not given:
        # A refusal of OpenAI's models is what they say, in a field of its own.
        refusal = message.get("refusal")
        said = message.get("content") or (refusal if isinstance(refusal, str) else "")
        written = plain_text(said)
        turn = reader.parse(written + IM_END if whole else written, _style(written))
        error = turn.error or leaked_calls.sentence(turn.text)
        calls = () if error else turn.tool_calls
        thought = turn.thinking or plain_text(thinking)
        return replace(turn, tool_calls=calls, error=error, thinking=thought)
    text = text_of(message)
    if not whole:
        return AgentTurn(text, (), False, "The turn reached its token limit before it ended.")
    if len(given) > MAX_CALLS:
        return AgentTurn(text or str(given)[:_SHOWN], (), True, TOO_MANY_CALLS)
    try:
        return AgentTurn(text, tuple(map(_call, given)), thinking=plain_text(thinking))
    except _BadCallError as error:
        return AgentTurn(text or str(given)[:_SHOWN], (), True, str(error))


def _style(written: str) -> Style:
    """A server without a reasoning parser leaves thoughts in the text, opened or half opened."""
    half = THINK_END in written and THINK not in written
    return Style(thinking=Thinking.PROMPTED if half else Thinking.OWN)


def plain_text(text: str) -> str:
    """Half of a surrogate pair is valid JSON but no text that could be encoded."""
    return text.encode("utf-8", "replace").decode("utf-8")


class _BadCallError(Exception):
    """The model's mistake, as a sentence."""


def _call(given: Any) -> ToolCall:
    function = given.get("function") if isinstance(given, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ValueError("it answered a tool call without a function")
    name = plain_text(function["name"])
    try:
        return ToolCall(name, arguments.read(function.get("arguments")))
    except ArgumentsError as error:
        raise _BadCallError(f"The arguments of the tool call {name} {error}.") from error
