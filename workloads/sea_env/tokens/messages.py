"""The messages of a dialogue, as all parts of the workloads pass them around."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_CALLS = 64
"""Per turn of the agent; a turn with more is malformed. Whole published tasks of tau2-bench expect
at most 13."""
TOO_MANY_CALLS = f"The turn makes more than {MAX_CALLS} tool calls: make fewer at a time."

Message = Mapping[str, Any]
"""`{"role": system|user|assistant|tool, "content": str, "tool_calls": [{name, arguments}],
"thinking": str}`; the last two on an assistant's turn only, and only where there are any."""


@dataclass(frozen=True)
class ToolCall:
    """One call that the agent (or a user with tools) makes."""

    name: str
    arguments: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "arguments": dict(self.arguments)}


@dataclass(frozen=True)
class AgentTurn:
    """What one generation of the agent means.

    A turn with an `error` (a full sentence) has no tool calls; `complete` says whether it ended
    with the end-of-turn token rather than at the token limit.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    complete: bool = True
    error: str = ""
    thinking: str = field(default="", compare=False)
    context_full: bool = field(default=False, compare=False)
    """An incomplete turn was cut by the end of the context, not by the limit of a turn."""

    def as_message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.thinking:
            message["thinking"] = self.thinking
        if self.tool_calls:
            message["tool_calls"] = [call.as_dict() for call in self.tool_calls]
        return message


def calls_of(message: Message) -> Sequence[Mapping[str, Any]]:
    """The message's tool calls, whether flat (published data) or nested as OpenAI writes them."""
    calls = message.get("tool_calls") or ()
    return [call.get("function", call) for call in calls]
