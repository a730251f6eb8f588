"""The body of a chat completion, read for `chat`: its JSON, its message, what it used. Pure."""

import json
from collections.abc import Mapping
from typing import Any


def parsed(data: bytes) -> Any:
    """The body as JSON; raises ValueError with a sentence."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it answered something that is no chat completion ({error})") from error


def message_of(reply: Any) -> dict[str, Any]:
    """The first choice's message with `finish_reason` and `usage`; raises ValueError."""
    try:
        choice = reply["choices"][0]
        message, finish, usage = choice["message"], choice.get("finish_reason"), reply.get("usage")
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"it answered something that is no chat completion ({error})") from error
    content = _joined(message.get("content")) if isinstance(message, dict) else 0
    if not isinstance(content, str | None):
        raise ValueError("it answered a message that has no text")
    return {**message, "content": content, "finish_reason": finish, "usage": usage}


def _joined(content: Any) -> Any:
    """A content of parts `{"type": "text", "text": ...}` as one text; others as they are."""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return content
    texts = [part.get("text") for part in content if part.get("type") == "text"]
    return "".join(texts) if all(isinstance(text, str) for text in texts) else content


def usage_of(reply: Any) -> Mapping[str, Any]:
    """What the answer used; empty if the server doesn't say."""
    found = reply.get("usage") if isinstance(reply, dict) else None
    return found if isinstance(found, dict) else {}
