"""Chat markup as segments: what is a tag, what is text, who wrote it. Pure, no tokenizer.

`Renderer` encodes the segments; the tiny model's tokenizer is trained on the text ones. Tags and
text stay apart so that text which looks like a tag can never become one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sea_workloads.tokens.messages import Message, calls_of

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
END_OF_TEXT = "<|endoftext|>"
TOOL_CALL = "<tool_call>"
TOOL_CALL_END = "</tool_call>"
TOOL_RESPONSE = "<tool_response>"
TOOL_RESPONSE_END = "</tool_response>"

SPECIAL_TOKENS = (
    END_OF_TEXT,
    IM_START,
    IM_END,
    TOOL_CALL,
    TOOL_CALL_END,
    TOOL_RESPONSE,
    TOOL_RESPONSE_END,
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A tag or a piece of text; `author` is the role that wrote it, empty for the frame."""

    text: str
    tag: bool = False
    author: str = ""


NEWLINE = Segment("\n")
START = Segment(IM_START, tag=True)
ASSISTANT_HEADER = (START, Segment("assistant\n"))


def call_json(name: str, arguments: Mapping[str, Any]) -> str:
    """The text inside `<tool_call>`: compact JSON, keys in the order given."""
    call = {"name": name, "arguments": dict(arguments)}
    return json.dumps(call, ensure_ascii=False, separators=(",", ":"))


def written_by_assistant(message: Message) -> Iterator[Segment]:
    """What the agent generates for this message, its end tag included."""
    if message.get("content"):
        yield Segment(str(message["content"]), author="assistant")
    for call in calls_of(message):
        yield Segment(TOOL_CALL, tag=True, author="assistant")
        yield Segment(call_json(call["name"], call.get("arguments") or {}), author="assistant")
        yield Segment(TOOL_CALL_END, tag=True, author="assistant")
    yield Segment(IM_END, tag=True, author="assistant")


def plain_turn(role: str, text: str) -> Iterator[Segment]:
    """A system or user turn. The frame has no author, the text and its end tag have."""
    yield START
    yield Segment(f"{role}\n")
    yield Segment(text, author=role)
    yield Segment(IM_END, tag=True, author=role)


def tool_turn(results: Sequence[str]) -> Iterator[Segment]:
    """All results of one agent turn, in one user turn."""
    yield START
    yield Segment("user\n")
    for content in results:
        yield Segment(TOOL_RESPONSE, tag=True, author="tool")
        yield Segment(content, author="tool")
        yield Segment(TOOL_RESPONSE_END, tag=True, author="tool")
    yield Segment(IM_END, tag=True, author="tool")


def dialogue(messages: Sequence[Message]) -> Iterator[Segment]:
    """A whole dialogue; turns are joined by newlines and none follows the last."""
    pending: list[str] = []
    first = True
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            pending.append(str(message.get("content") or ""))
            if index + 1 < len(messages) and messages[index + 1]["role"] == "tool":
                continue
        if not first:
            yield NEWLINE
        first = False
        yield from _turn(message, pending)
        pending = []


def _turn(message: Message, pending: Sequence[str]) -> Iterator[Segment]:
    if pending:
        yield from tool_turn(pending)
    elif message["role"] == "assistant":
        yield from ASSISTANT_HEADER
        yield from written_by_assistant(message)
    else:
        yield from plain_turn(message["role"], str(message.get("content") or ""))
