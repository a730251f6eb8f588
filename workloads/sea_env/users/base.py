"""What every simulated user offers to the episode loop: replies, ending signals, its tools."""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Any, Protocol

from sea_env.domains.base import Domain, Tool
from sea_env.errors import EnvError
from sea_env.tasks.task import Task
from sea_env.tokens.messages import AgentTurn, Message


class Signal(StrEnum):
    """What a user writes to end a dialogue (tau2-bench's words)."""

    STOP = "###STOP###"
    TRANSFER = "###TRANSFER###"
    OUT_OF_SCOPE = "###OUT-OF-SCOPE###"


class UserUnavailableError(EnvError):
    """The user did not answer (an endpoint hangs or is down): no verdict is possible."""

    permanent = False


Reply = str | AgentTurn
"""What a user does next: says a text, or (telecom) makes tool calls of its own."""


class User(Protocol):
    """Talks to one agent in one episode."""

    async def reply(self, heard: Sequence[Message]) -> Reply:
        """The user's next text or calls. `heard` is what `spoken` returns for the dialogue so far,
        oldest first; empty at the beginning.

        Raises UserUnavailableError if no answer is available.
        """
        ...


def signal_in(text: str) -> Signal | None:
    """The first signal in a text, or None."""
    return next((signal for signal in Signal if signal in text), None)


def spoken(messages: Sequence[Message]) -> list[Message]:
    """What the user heard, said and did: text turns of both, its own calls and their results.

    Calls are on messages of role user; results have role tool and the requestor user. What an agent
    writes next to a tool call reaches only the tools, as in tau2-bench.
    """
    return [found for message in messages if (found := _heard(message)) is not None]


def _heard(message: Message) -> Message | None:
    role = message["role"]
    if role == "user":
        return message
    if role == "assistant" and message.get("content") and not message.get("tool_calls"):
        return {"role": role, "content": message["content"]}
    return message if role == "tool" and message.get("requestor") == "user" else None


def task_user_tools(domain: Domain, task: Task) -> Sequence[Tool]:
    """The user's tools in this task: the domain's, or those that the task's `user_tools` names."""
    named = task.row.get("user_tools")
    return named_user_tools(domain, named if isinstance(named, list) else None)


def named_user_tools(domain: Domain, names: Collection[Any] | None) -> Sequence[Tool]:
    """The domain's user tools with these names; all of them for None."""
    if names is None:
        return domain.user_tools
    return [tool for tool in domain.user_tools if tool.name in names]
