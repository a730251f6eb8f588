"""One dialogue as its agent sees it: without what the user does on its own side. Pure.

(`users.base.spoken` is the user's view.)
"""

from collections.abc import Iterator, Sequence

from sea_env.tokens.messages import Message, calls_of


def of_agent(messages: Sequence[Message]) -> list[Message]:
    """The messages without the user's calls and their results."""
    return [message for message in messages if not is_users_own(message)]


def is_users_own(message: Message) -> bool:
    """A call of the user, one that failed to be one, or a result of such."""
    if message["role"] == "tool":
        return message.get("requestor") == "user"
    return message["role"] == "user" and bool(calls_of(message) or message.get("error"))


def answers(messages: Sequence[Message]) -> list[str]:
    """The results that a dialogue ends with, oldest first."""
    return list(_answers(messages))[::-1]


def _answers(messages: Sequence[Message]) -> Iterator[str]:
    for message in reversed(messages):
        if message["role"] != "tool":
            return
        yield str(message["content"])


def last_words(messages: Sequence[Message]) -> str:
    """What the agent said last to the user; empty if nothing."""
    said = (m for m in reversed(messages) if m["role"] == "assistant" and not calls_of(m))
    return str(next(said, {"content": ""})["content"])
