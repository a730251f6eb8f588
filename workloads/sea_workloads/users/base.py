"""What every simulated user offers to the episode loop, and the signals that end a dialogue."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from sea_workloads.tokens.messages import Message


class Signal(StrEnum):
    """What a user writes to end a dialogue (tau2-bench's words)."""

    STOP = "###STOP###"
    TRANSFER = "###TRANSFER###"
    OUT_OF_SCOPE = "###OUT-OF-SCOPE###"


class UserUnavailableError(RuntimeError):
    """The user could not answer (an endpoint hangs or is down): no verdict is possible."""


class User(Protocol):
    """Talks to one agent in one episode."""

    async def reply(self, heard: Sequence[Message]) -> str:
        """The user's next text. `heard` are the dialogue's spoken turns so far, oldest first:
        roles user and assistant, tool calls and results left out. Empty at the beginning.

        Raises UserUnavailableError when there is no answer to be had.
        """
        ...


def signal_in(text: str) -> Signal | None:
    """The first signal in a text, or None."""
    return next((signal for signal in Signal if signal in text), None)


def spoken(messages: Sequence[Message]) -> list[Message]:
    """What the user hears and said: text turns of both, without system, calls and results.

    What an agent writes beside a tool call goes to the tools alone, as in tau2-bench.
    """
    return [
        {"role": message["role"], "content": message["content"]}
        for message in messages
        if message["role"] in {"user", "assistant"}
        and message.get("content")
        and not (message["role"] == "assistant" and message.get("tool_calls"))
    ]
