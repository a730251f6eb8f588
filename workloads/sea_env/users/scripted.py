"""Users without a model: deterministic by seed, enough to run a job without a user engine.

A scripted user also uses its own tools (telecom) when the agent's words name one, as
`toggle_roaming` or "toggle roaming"; arguments follow as JSON:
`grant_app_permission {"app_name": "messaging", "permission": "sms"}`.
"""

import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sea_env.domains.base import Tool
from sea_env.domains.shop.customer import Customer
from sea_env.domains.shop.scenario import Script
from sea_env.tokens import plain_json
from sea_env.tokens.messages import AgentTurn, Message, ToolCall
from sea_env.users.base import Reply, Signal

_MAX_TEXTS = 40
"""Texts of a reader before it leaves, so that no dialogue is endless."""
_DECODER = json.JSONDecoder()


class ScriptedUser:
    """Plays a task's scenario: the shop's customer by its script, others by their instructions."""

    def __init__(self, scenario: Mapping[str, Any], seed: int, tools: Sequence[Tool] = ()) -> None:
        """`tools` are the user's own (telecom)."""
        self._tools = {tool.name: tool for tool in tools}
        rng = random.Random(seed)  # noqa: S311 - phrasing, not secrets
        script = scenario.get("script")
        self._customer: Customer | _Reader = (
            Customer(Script.from_dict(script), rng) if script else _Reader(scenario)
        )

    async def reply(self, heard: Sequence[Message]) -> Reply:
        return self.say(heard)

    def say(self, heard: Sequence[Message]) -> Reply:
        """`reply` without an event loop, for generators of dialogues."""
        if heard and heard[-1]["role"] == "tool":
            return f"I did that. It says: {heard[-1]['content']}"
        agent = [str(turn["content"]) for turn in heard if turn["role"] == "assistant"]
        call = requested_call(agent[-1], self._tools) if agent else None
        if call is not None:
            return AgentTurn("", (call,))
        return self._customer.say(agent[-1] if agent else None)


class _Reader:
    """Reads out the reason for the call, then what it knows, then agrees, then leaves."""

    def __init__(self, scenario: Mapping[str, Any]) -> None:
        given = scenario.get("instructions") or {}
        if isinstance(given, str):
            given = {"reason_for_call": given}
        reason = given.get("reason_for_call") or given.get("task_instructions") or "Hello."
        self._lines = [str(reason)]
        if given.get("known_info"):
            self._lines.append(str(given["known_info"]))
        self._texts_left = _MAX_TEXTS

    def say(self, agent: str | None) -> str:
        first = self._texts_left == _MAX_TEXTS
        self._texts_left -= 1
        if self._lines and (agent is None or first):
            return self._lines.pop(0)
        if agent and "TRANSFERRED TO A HUMAN" in agent.upper():
            return Signal.TRANSFER
        if self._texts_left < 1 or (agent and "?" not in agent):
            return Signal.STOP
        return self._lines.pop(0) if self._lines else "Yes, please."


def requested_call(text: str, tools: Mapping[str, Tool]) -> ToolCall | None:
    """The first call that the agent's text asks for, or None.

    A tool with required arguments counts only if they are given.
    """
    found: list[tuple[int, ToolCall]] = []
    for name, tool in tools.items():
        match = re.search(_name_pattern(name), text, re.IGNORECASE)
        if match is None:
            continue
        arguments = _json_arguments(text[match.end() :])
        if tool.required and not set(tool.required) <= set(arguments):
            continue
        found.append((match.start(), ToolCall(name, arguments)))
    return min(found, key=lambda one: one[0])[1] if found else None


def _name_pattern(name: str) -> str:
    return r"\b" + name.replace("_", "[_ ]") + r"\b"


def _json_arguments(rest: str) -> dict[str, Any]:
    given = rest.lstrip(" (:`")
    if not given.startswith("{"):
        return {}
    try:
        value, _ = _DECODER.raw_decode(given)
        plain_json.check(value)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
