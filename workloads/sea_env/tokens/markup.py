"""Chat markup as segments: what is a tag, what is text, who wrote it. Pure, no tokenizer.

`Renderer` encodes the segments; the tiny model's tokenizer is trained on the text segments. Tags
and text are kept apart, so that text that looks like a tag never becomes one.

Earlier turns keep their thinking, unlike in Qwen3's own template, which drops it from history as
soon as the user speaks again: so every prompt begins with the exact tokens of the one before. A
style that `strips_thoughts` follows the template instead.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sea_env.tokens.call_formats import XML_TAGS, write_call
from sea_env.tokens.messages import Message, calls_of
from sea_env.tokens.style import BRIEF, CallFormat, Style, Thinking

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
END_OF_TEXT = "<|endoftext|>"
TOOL_CALL = "<tool_call>"
TOOL_CALL_END = "</tool_call>"
TOOL_RESPONSE = "<tool_response>"
TOOL_RESPONSE_END = "</tool_response>"
THINK = "<think>"
THINK_END = "</think>"

SPECIAL_TOKENS = (
    END_OF_TEXT,
    IM_START,
    IM_END,
    TOOL_CALL,
    TOOL_CALL_END,
    TOOL_RESPONSE,
    TOOL_RESPONSE_END,
)
"""The tiny model's."""
TAGS = (*SPECIAL_TOKENS, THINK, THINK_END)
ENDS_A_CALL = (IM_END, END_OF_TEXT, TOOL_CALL_END)
"""What a reader of any format looks for within a call."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A tag or a piece of text; `author` is the role that wrote it, empty for the frame."""

    text: str
    tag: bool = False
    author: str = ""
    trusted: bool = False
    """Text of the system prompt: tool tags spelled in it are tags, as the model learned them."""


_WRITES_THOUGHTS = (Thinking.OWN, Thinking.PROMPTED)
NEWLINE = Segment("\n")
START = Segment(IM_START, tag=True)


def assistant_header(style: Style = BRIEF) -> Iterator[Segment]:
    """What the prompt of an assistant's turn ends with."""
    yield START
    yield Segment("assistant\n")
    if style.thinking is Thinking.PROMPTED:
        yield Segment(THINK, tag=True)
        yield NEWLINE
    if style.thinking is Thinking.EMPTY:
        yield Segment(THINK, tag=True)
        yield Segment("\n\n")
        yield Segment(THINK_END, tag=True)
        yield Segment("\n\n")


def written_by_assistant(message: Message, style: Style = BRIEF) -> Iterator[Segment]:
    """What the agent generates for this message, its end tag included."""
    found = calls_of(message)
    yield from _thinking(message, style)
    text = str(message.get("content") or "")
    if style.trims or (found and style.calls is CallFormat.QWEN3_XML):
        text = text.strip()
    gap, before = ("", "") if style.brief else ("\n", style.before_call if text and found else "")
    if style.thinking in _WRITES_THOUGHTS:
        text = "\n\n" + text.lstrip("\n")
    if text:
        yield Segment(text + before, author="assistant")
    for number, call in enumerate(found):
        if number and gap:
            yield Segment(gap, author="assistant")
        yield Segment(TOOL_CALL, tag=True, author="assistant")
        written = write_call(call["name"], call.get("arguments") or {}, style)
        yield Segment(written, author="assistant")
        yield Segment(TOOL_CALL_END, tag=True, author="assistant")
    yield Segment(IM_END, tag=True, author="assistant")


def spelled_in_call(call: Message, style: Style) -> str:
    """A tag that a call's name or arguments spell and that would end the call when it is read.

    Empty if there is none. No format escapes it: JSON leaves `<` as it is, XML has bare values, and
    the families' templates write both so.
    """
    text = json.dumps([call["name"], call.get("arguments") or {}], ensure_ascii=False)
    tags = ENDS_A_CALL + (XML_TAGS if style.calls is CallFormat.QWEN3_XML else ())
    return next((tag for tag in tags if tag in text), "")


def _thinking(message: Message, style: Style) -> Iterator[Segment]:
    """The block before the answer; a thinking model writes an empty one if it has no thought."""
    if style.thinking not in _WRITES_THOUGHTS:
        return
    thought = str(message.get("thinking") or "").strip(None if style.trims else "\n")
    if style.thinking is Thinking.OWN:
        yield Segment(THINK, tag=True, author="assistant")
        thought = "\n" + thought
    yield Segment(thought + "\n", author="assistant")
    yield Segment(THINK_END, tag=True, author="assistant")


def plain_turn(role: str, text: str, style: Style = BRIEF) -> Iterator[Segment]:
    """A system or user turn. The frame has no author; the text and its end tag do."""
    yield START
    yield Segment(f"{role}\n")
    text = text.strip() if style.trims and role != "system" else text
    yield Segment(text, author=role, trusted=role == "system" and not style.brief)
    yield Segment(IM_END, tag=True, author=role)


def tool_turn(results: Sequence[str], style: Style = BRIEF) -> Iterator[Segment]:
    """All results of one agent turn, in one user turn."""
    gap = "" if style.brief else "\n"
    yield START
    yield Segment("user\n")
    for number, content in enumerate(results):
        if number and gap:
            yield Segment(gap, author="tool")
        yield Segment(TOOL_RESPONSE, tag=True, author="tool")
        text = content.strip() if style.trims else content
        yield Segment(f"{gap}{text}{gap}", author="tool")
        yield Segment(TOOL_RESPONSE_END, tag=True, author="tool")
    if style.after_results:
        yield Segment(style.after_results, author="tool")
    yield Segment(IM_END, tag=True, author="tool")


def turns(
    messages: Sequence[Message], style: Style = BRIEF
) -> Iterator[tuple[int, Iterator[Segment]]]:
    """(index of its last message, segments) of every turn; results of one turn come together."""
    pending: list[str] = []
    # Stripped before the user's last text only: results of tools continue the same thought.
    asked = last_question(messages) if style.strips_thoughts else -1
    own, earlier = style, replace(style, thinking=Thinking.NONE)
    for index, message in enumerate(messages):
        style = own if index > asked else earlier
        if message["role"] == "tool":
            pending.append(str(message.get("content") or ""))
            if index + 1 < len(messages) and messages[index + 1]["role"] == "tool":
                continue
        yield index, _turn(message, pending, style)
        pending = []


def last_question(messages: Sequence[Message]) -> int:
    """Index of the user's last text; -1 if there is none. Results of tools are none."""
    return max((i for i, one in enumerate(messages) if one["role"] == "user"), default=-1)


def dialogue(messages: Sequence[Message], style: Style = BRIEF) -> Iterator[Segment]:
    """A whole dialogue; turns are joined by newlines and none follows the last."""
    for number, (_, segments) in enumerate(turns(messages, style)):
        if number:
            yield NEWLINE
        yield from segments


def _turn(message: Message, pending: list[str], style: Style) -> Iterator[Segment]:
    if pending:
        yield from tool_turn(pending, style)
    elif message["role"] == "assistant":
        yield from assistant_header(style)
        yield from written_by_assistant(message, style)
    else:
        yield from plain_turn(message["role"], str(message.get("content") or ""), style)
