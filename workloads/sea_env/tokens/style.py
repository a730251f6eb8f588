"""How a family of models writes a turn: form of its calls, its thinking, its white space.

`probe.py` finds a folder's style, `markup.py` and `calls.py` write by it, `reader.py` reads by it.
"""

from dataclasses import dataclass
from enum import StrEnum


class CallFormat(StrEnum):
    """What stands between `<tool_call>` and `</tool_call>`."""

    HERMES = "Hermes"
    """One JSON object `{"name": ..., "arguments": {...}}`."""
    QWEN25 = "Qwen25"
    """As Hermes; `parameters` may stand for `arguments`, and a string may hold the object."""
    QWEN3_XML = "Qwen3Xml"
    """`<function=name>` with one `<parameter=key>` for each argument."""


def call_format(named: str) -> CallFormat | None:
    """What the job's `model.toolFormat` names; None for `Auto`: the chat template decides."""
    return None if named == "Auto" else CallFormat(named)


class Thinking(StrEnum):
    """Who writes `<think>` before an answer."""

    NONE = "None"
    """Nobody: the model does not think aloud."""
    OWN = "Own"
    """The model (Qwen3's hybrid models)."""
    PROMPTED = "Prompted"
    """The prompt: the assistant's header ends with `<think>` (Qwen3-Thinking-2507)."""


@dataclass(frozen=True)
class Style:
    """Everything in which models of the family differ."""

    calls: CallFormat = CallFormat.HERMES
    thinking: Thinking = Thinking.NONE
    brief: bool = False
    """Compact JSON and no line breaks around tags: the tiny model's form."""


BRIEF = Style(brief=True)
"""The default: `builtin:tiny`, whose context is a few hundred tokens."""
