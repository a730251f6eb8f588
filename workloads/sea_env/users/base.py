"""What every simulated user offers to the episode loop, and the signals that end a dialogue."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from sea_env.tokens.messages import AgentTurn, Message


class Signal(StrEnum):
    """What a user writes to end a dialogue (tau2-bench's words)."""

    STOP = "###STOP###"
    TRANSFER = "###TRANSFER###"
    OUT_OF_SCOPE = "###OUT-OF-SCOPE###"


class UserUnavailableError(RuntimeError):
    """The user could not answer (an endpoint hangs or is down): no verdict is possible."""


Reply = str | AgentTurn
"""What a user does next: says a text, or (telecom) makes tool calls of its own."""


class User(Protocol):
    """Talks to one agent in one episode."""

    async def reply(self, heard: Sequence[Message]) -> Reply:
        """The user's next text or calls. `heard` is what `spoken` gives of the dialogue so far,
        oldest first; empty at the beginning.

        Raises UserUnavailableError when there is no answer to be had.
        """
        ...


def signal_in(text: str) -> Signal | None:
    """The first signal in a text, or None."""
    return next((signal for signal in Signal if signal in text), None)


def spoken(messages: Sequence[Message]) -> list[Message]:
    """What the user heard, said and did: text turns of both, its own calls and their results.

    Calls are on messages of role user; results have role tool and the requestor user. What an agent
    writes beside a tool call goes to the tools alone, as in tau2-bench.
    """
    return [found for message in messages if (found := _heard(message)) is not None]


def _heard(message: Message) -> Message | None:
    role = message["role"]
    if role == "user":
        return message
    if role == "assistant" and message.get("content") and not message.get("tool_calls"):
        return {"role": role, "content": message["content"]}
    return message if role == "tool" and message.get("requestor") == "user" else None
