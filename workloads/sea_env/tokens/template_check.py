"""Whether this program writes dialogues as a folder's own chat template does.

`chat_template` reads a style off the template: call format, thoughts, line breaks. A family that
differs in anything else (`<|im_start|>` around turns of another form, one line break after a
thought) would be trained on, and asked, prompts that nobody who serves it ever writes. So two
dialogues are written both ways when a folder is loaded, and a template that differs is refused.

Both are one exchange with a thought in every turn: what differs on purpose beyond that is in
docs/models.md.
"""

from collections.abc import Sequence
from typing import Any

from sea_env.tokens import markup
from sea_env.tokens.chat_template import ChatTemplate, ChatTemplateError
from sea_env.tokens.messages import Message, calls_of
from sea_env.tokens.style import Style, Thinking

_SHOWN = 25
"""Characters of each side in a sentence."""
_SYSTEM, _FUNCTION = "S.", "function-of-the-probe"


def mismatch(template: ChatTemplate, style: Style, *, calls: bool = True) -> str:
    """Where the two differ, for a sentence; empty if they don't.

    Args:
        template: the folder's own.
        style: as it was read off the template.
        calls: False if the job chose another format of calls than the template's.

    Raises ChatTemplateError if the template refuses system prompt, question and answer.
    """
    thinks = style.thinking in (Thinking.OWN, Thinking.PROMPTED)
    # As `Renderer` writes it: Qwen3.8's template puts an instruction of its own before the prompt.
    text = template.system(_SYSTEM, ())
    system = [{"role": "system", "content": text if _SYSTEM in text else _SYSTEM}]
    ours = system + _text(thinks)[1:]
    found = _difference(template.render(_openai(_text(thinks))), ours, style)
    if found or not calls:
        return found
    try:
        theirs = template.render(_openai(_with_calls(thinks)))
    except ChatTemplateError:
        return ""  # it knows no tools: the renderer lists them itself
    # A template without tools leaves the calls out (Qwen2.5-VL's).
    ours = system + _with_calls(thinks)[1:]
    return _difference(theirs, ours, style) if _FUNCTION in theirs else ""


def _difference(theirs: str, messages: Sequence[Message], style: Style) -> str:
    ours = "".join(segment.text for segment in markup.dialogue(messages, style))
    ours, theirs = ours.rstrip("\n"), theirs.rstrip("\n")
    if ours == theirs:
        return ""
    pairs = enumerate(zip(ours, theirs, strict=False))
    place = next((at for at, (one, other) in pairs if one != other), min(len(ours), len(theirs)))
    start = max(0, place - _SHOWN // 2)
    return f"{theirs[start : place + _SHOWN]!r} where {ours[start : place + _SHOWN]!r} is expected"


def _text(thinks: bool) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": "Q"},
        _agent("A", thinks),
    ]


def _with_calls(thinks: bool) -> list[dict[str, Any]]:
    some = {"name": _FUNCTION, "arguments": {"s": "x", "n": 1}}
    none: dict[str, Any] = {"name": _FUNCTION, "arguments": {}}
    return [
        *_text(thinks)[:2],
        _agent("A", thinks, [some, none]),
        {"role": "tool", "content": "R1"},
        {"role": "tool", "content": "R2"},
        _agent("", thinks, [none]),
        {"role": "tool", "content": "R3"},
        _agent("B", thinks),
    ]


def _agent(text: str, thinks: bool, calls: Sequence[Any] = ()) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thinks:
        message["thinking"] = "T"
    return {**message, "tool_calls": list(calls)} if calls else message


def _openai(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as a server passes them to the template."""
    found = []
    for message in messages:
        sent = {key: value for key, value in message.items() if key != "thinking"}
        if "thinking" in message:
            sent["reasoning_content"] = message["thinking"]
        if calls_of(message):
            sent["tool_calls"] = [
                {"type": "function", "function": dict(call)} for call in calls_of(message)
            ]
        found.append(sent)
    return found
