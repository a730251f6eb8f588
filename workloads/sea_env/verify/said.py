"""COMMUNICATE part: every piece of information appears in what the agent said to the user."""

from collections.abc import Sequence

from sea_env.tokens.messages import Message


def communicated(info: Sequence[str], transcript: Sequence[Message]) -> bool:
    """Case-insensitive substring of one agent message, commas stripped (1,234 is 1234)."""
    texts = [
        str(message["content"]).lower().replace(",", "")
        for message in transcript
        if message["role"] == "assistant" and message.get("content")
    ]
    return all(any(_plain(piece) in text for text in texts) for piece in info)


def _plain(text: str) -> str:
    return text.lower().replace(",", "")
