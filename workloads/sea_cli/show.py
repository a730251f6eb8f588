"""Dialogues in a terminal: who speaks, which calls, what they answered.

Texts are a model's: control characters are shown, never sent to the terminal.
"""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from sea_data.evaluation.playing.chat_messages import steps
from sea_env.tokens.messages import Message, calls_of

_WHO = {"user": ("User", "bold cyan"), "assistant": ("Agent", "bold green")}
_LONGEST = 1200


def printable(text: str) -> str:
    """Control characters other than line ends as `\\x1b`, so that no text moves the cursor."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def shortened(text: str, longest: int = _LONGEST) -> str:
    more = len(text) - longest
    return text if more <= 0 else f"{text[:longest]} [... {more:,} more]"


def dialogue(console: Console, messages: Sequence[Message]) -> None:
    """All turns, the results of calls beneath them."""
    for turn, results in steps(messages):
        said(console, turn)
        calls = calls_of(turn)
        for index, call in enumerate(calls):
            answer = results[index] if index < len(results) else None
            called(console, call, None if answer is None else str(answer.get("content") or ""))
        for extra in results[len(calls) :]:
            line(console, "  -> ", str(extra.get("content") or ""), "red")


def said(console: Console, turn: Message) -> None:
    name, style = _WHO.get(turn["role"], (str(turn["role"]), "bold"))
    if turn.get("content"):
        line(console, f"{name}: ", str(turn["content"]), head=style)
    if turn.get("error"):
        line(console, "  !! ", str(turn["error"]), "red")


def called(console: Console, call: Any, result: str | None) -> None:
    arguments = json.dumps(call.get("arguments") or {}, ensure_ascii=False)
    line(console, "  * ", f"{call.get('name')} {arguments}", "yellow", head="yellow")
    if result is not None:
        line(console, "  -> ", result, "red" if result.startswith("Error") else "dim")


def line(console: Console, start: str, text: str, style: str = "", head: str = "dim") -> None:
    """One piece of text with its mark in front; never read as rich's markup."""
    console.print(Text.assemble((start, head), (printable(shortened(text)), style)), soft_wrap=True)
