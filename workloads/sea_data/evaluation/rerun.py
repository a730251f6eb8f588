"""A saved dialogue's tool calls made again on a fresh database: does the world still answer so?

Differences show a database, a tool or a task that changed since, or a log that isn't what it says.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sea_data.evaluation.playing.chat_messages import steps
from sea_env.domains.base import Environment
from sea_env.tokens import plain_json
from sea_env.tokens.messages import Message, calls_of


@dataclass(frozen=True)
class Rerun:
    """One call of a dialogue, then and now."""

    name: str
    arguments: dict[str, Any]
    requestor: str
    before: str | None
    """The recorded result; None where the dialogue has none (it ended there)."""
    now: str

    @property
    def differs(self) -> bool:
        return self.before is not None and not same(self.before, self.now)


def rerun(environment: Environment, messages: Sequence[Message]) -> list[Rerun]:
    """All calls in order, of both sides; the environment keeps what they changed."""
    found = []
    for turn, results in steps(messages):
        for index, call in enumerate(calls_of(turn)):
            arguments, name = _arguments(call.get("arguments")), str(call.get("name"))
            side = "user" if turn["role"] == "user" else "assistant"
            before = str(results[index].get("content") or "") if index < len(results) else None
            now = environment.call(name, arguments, side).content
            found.append(Rerun(name, arguments, side, before, now))
    return found


def same(before: str, now: str) -> bool:
    """Equal as text, or as the JSON values that both hold."""
    if before == now:
        return True
    try:
        return bool(json.loads(before) == json.loads(now))
    except (ValueError, RecursionError):
        return False


def _arguments(given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        try:
            given = plain_json.loads(given)
        except ValueError:
            return {}
    return given if isinstance(given, dict) else {}
