"""Loop detection: the same step again and again, to which the world answers the same. Pure.

A step is a tool call with its result, or an agent's text with the user's answer. An agent that
polls something that changes, or whose user talks on, is not in a loop.
"""

import json
from collections.abc import Mapping
from typing import Any


class Repetition:
    """Counts identical steps in a row."""

    def __init__(self, most: int) -> None:
        """`most` steps in a row make a loop."""
        self._most = most
        self._last: tuple[str, ...] = ()
        self._count = 0

    def call(self, name: str, arguments: Mapping[str, Any], result: str) -> bool:
        """Whether this call completes a loop."""
        return self._step("call", name, json.dumps(arguments, sort_keys=True), result)

    def talk(self, agent: str, user: str) -> bool:
        """Whether this exchange completes a loop."""
        return self._step("talk", agent, user)

    def _step(self, *step: str) -> bool:
        self._count = self._count + 1 if step == self._last else 1
        self._last = step
        return self._count >= self._most
