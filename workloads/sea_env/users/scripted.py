"""Users without a model: deterministic by seed, enough to run a job without a user engine."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from sea_env.domains.base import Tool
from sea_env.domains.shop.customer import Customer
from sea_env.domains.shop.scenario import Script
from sea_env.tokens.messages import AgentTurn, Message
from sea_env.users.base import Reply, Signal
from sea_env.users.obedience import asked_for

_PATIENCE = 40
"""Texts of a reader before it leaves, so that no dialogue is endless."""


class ScriptedUser:
    """Plays a task's scenario: the shop's customer by its script, others by their instructions."""

    def __init__(self, scenario: Mapping[str, Any], seed: int, tools: Sequence[Tool] = ()) -> None:
        """`tools` are the user's own (telecom); the agent has them used by naming them."""
        self._tools = {tool.name: tool for tool in tools}
        rng = random.Random(seed)  # noqa: S311 - phrasing, not secrets
        script = scenario.get("script")
        self._customer: Customer | _Reader = (
            Customer(Script.from_dict(script), rng) if script else _Reader(scenario)
        )

    async def reply(self, heard: Sequence[Message]) -> Reply:
        return self.say(heard)

    def say(self, heard: Sequence[Message]) -> Reply:
        """The same without a loop, for generators of dialogues."""
        if heard and heard[-1]["role"] == "tool":
            return f"I did that. It says: {heard[-1]['content']}"
        agent = [str(turn["content"]) for turn in heard if turn["role"] == "assistant"]
        call = asked_for(agent[-1], self._tools) if agent else None
        if call is not None:
            return AgentTurn("", (call,))
        return self._customer.say(agent[-1] if agent else None)


class _Reader:
    """Reads out the reason for the call, then what it knows, agrees, and leaves."""

    def __init__(self, scenario: Mapping[str, Any]) -> None:
        given = scenario.get("instructions") or {}
        if isinstance(given, str):
            given = {"reason_for_call": given}
        reason = given.get("reason_for_call") or given.get("task_instructions") or "Hello."
        self._lines = [str(reason)]
        if given.get("known_info"):
            self._lines.append(str(given["known_info"]))
        self._patience = _PATIENCE

    def say(self, agent: str | None) -> str:
        first = self._patience == _PATIENCE
        self._patience -= 1
        if self._lines and (agent is None or first):
            return self._lines.pop(0)
        if agent and "TRANSFERRED TO A HUMAN" in agent.upper():
            return Signal.TRANSFER
        if self._patience < 1 or (agent and "?" not in agent):
            return Signal.STOP
        return self._lines.pop(0) if self._lines else "Yes, please."
