"""How a family of models writes a turn: format of its calls, its thinking, its white space.

`model_folder` finds a folder's style, `markup` writes by it, `reader` reads by it, and
`call_formats` does both for the calls.
"""

from dataclasses import dataclass
from enum import StrEnum


class CallFormat(StrEnum):
    """What is written between `<tool_call>` and `</tool_call>`."""

    HERMES = "Hermes"
    """One JSON object `{"name": ..., "arguments": {...}}`."""
    QWEN25 = "Qwen25"
    """As Hermes; `parameters` may replace `arguments`, and a string may hold the object."""
    QWEN3_XML = "Qwen3XML"
    """`<function=name>` with one `<parameter=key>` per argument."""


def call_format(named: str) -> CallFormat | None:
    """The job's `model.toolFormat` as a format; None for `Auto`: the chat template decides."""
    return None if named == "Auto" else CallFormat(named)


class Thinking(StrEnum):
    """What writes `<think>` before an answer."""

    NONE = "None"
    """Nothing: the model does not write its thoughts."""
    OWN = "Own"
    """The model (Qwen3's hybrid models)."""
    PROMPTED = "Prompted"
    """The prompt: the assistant's header ends with `<think>` (Qwen3-Thinking-2507)."""
    EMPTY = "Empty"
    """Nothing: the assistant's header ends with an empty thought (small Qwen3.5 models)."""


class XmlValues(StrEnum):
    """How an XML call writes a value that isn't a string; the others as Python's `str`."""

    JSON = "JSON"
    """All as JSON (Qwen3.6)."""
    CONTAINERS = "Containers"
    """Objects and lists as JSON (Qwen3.5)."""
    OBJECTS = "Objects"
    """Objects as JSON (Qwen3-Coder)."""


@dataclass(frozen=True)
class Style:
    """Everything in which the families differ."""

    calls: CallFormat = CallFormat.HERMES
    thinking: Thinking = Thinking.NONE
    brief: bool = False
    """Compact JSON and no line breaks around tags: the tiny model's style."""
    before_call: str = "\n"
    """Stands between a turn's text and its first call."""
    after_results: str = ""
    """Stands between the last result and the end of its turn."""
    values: XmlValues = XmlValues.JSON
    trims: bool = False
    """Texts of users, tools and the assistant lose white space at both ends."""
    strips_thoughts: bool = False
    """Thoughts before the user's last text aren't shown again; the job chooses it
    (`model.thinkingHistory`), no template does."""


BRIEF = Style(brief=True)
"""The default: `builtin:tiny`, whose context is a few hundred tokens."""
