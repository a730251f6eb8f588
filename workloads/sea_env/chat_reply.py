"""The body of a chat completion, read for `chat`: its JSON, its message, what it used."""

import json
from collections.abc import Mapping
from typing import Any

import aiohttp

_MAX_BYTES = 8 * 1024 * 1024

CUT = "length"
"""`finish_reason` of an answer that reached a token limit, under whatever name the server has."""
UNREADABLE = "malformed_function_call"
"""As `CUT`, of one whose call the server itself could not read."""
_CUT = frozenset(
    {"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"}
)
"""OpenAI; Anthropic, Bedrock, Gemini; their newer APIs; Mistral; Anthropic, Zhipu."""
_UNREADABLE = frozenset({UNREADABLE, "unexpected_tool_call", "function_call_filter"})
"""Gemini, the last in its OpenAI-compatible form: `function_call_filter: MALFORMED_...`."""
_FAILED = {
    "content_filter": "its content filter ended the answer",
    "safety": "its content filter ended the answer",
    "sensitive": "its content filter ended the answer",
    "error": "it failed during the answer",
    "abort": "it ended the answer itself",
    "network_error": "it failed during the answer",
    "insufficient_system_resource": "it had no resources to finish the answer",
}
"""What isn't the model's doing: OpenAI, Gemini, Zhipu; OpenRouter, Mistral; vLLM, SGLang; Zhipu;
DeepSeek."""


async def bounded(content: aiohttp.StreamReader) -> bytes:
    """The whole body; raises ValueError for an endless one."""
    data = bytearray()
    async for part in content.iter_chunked(1 << 16):
        data += part
        if len(data) > _MAX_BYTES:
            raise ValueError(f"its answer is longer than {_MAX_BYTES} bytes")
    return bytes(data)


def parsed(data: bytes) -> Any:
    """The body as JSON; raises ValueError with a sentence."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it answered something that is no chat completion ({error})") from error


def message_of(reply: Any) -> dict[str, Any]:
    """The first choice's message with `finish_reason` and `usage`.

    Raises ValueError for what is no message, or one that the server has ended: half of a sentence
    would be said, and half of an answer scored.
    """
    try:
        choice = reply["choices"][0]
        message, finish, usage = choice["message"], choice.get("finish_reason"), reply.get("usage")
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"it answered something that is no chat completion ({error})") from error
    content = _joined(message.get("content")) if isinstance(message, dict) else 0
    if not isinstance(content, str | None):
        raise ValueError("it answered a message that has no text")
    return {**message, "content": content, "finish_reason": _finish(finish), "usage": usage}


def _finish(given: Any) -> Any:
    """The reason under its one name; raises ValueError for a failure of the server."""
    reason = str(given or "").lower().partition(":")[0]
    if reason in _FAILED:
        raise ValueError(f"{_FAILED[reason]} (finish_reason {given!r:.60})")
    if reason in _UNREADABLE:
        return UNREADABLE
    return CUT if reason in _CUT else given


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
