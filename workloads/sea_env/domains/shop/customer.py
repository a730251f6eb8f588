"""The shop's scripted customer: opens the dialogue, answers questions, stops at goodbye.

Phrasing is drawn from the injected generator. Understanding is by keyword, so that any text of an
agent gets an answer; the customer gives up on an agent that makes no sense after a few tries.
"""

import random
from collections.abc import Sequence

from sea_env.domains.shop.scenario import Intent, Opening, Script

STOP = "###STOP###"
_MAX_CONFUSED = 3

_OPENINGS: dict[Intent, Sequence[str]] = {
    Intent.CANCEL: ("Please cancel {what}.", "I want to cancel {what}."),
    Intent.REFUND: ("Please refund {what}.", "I want a refund for {what}."),
    Intent.ADDRESS: ("Please send {what} to {address}.", "I want {what} at {address}."),
    Intent.TOTAL: ("How much is {what}?", "What does {what} cost?"),
}
_ORDER = ("It is {order}.", "Order {order}.")
_EMAIL = ("It is {email}.", "My email is {email}.")
_ADDRESS = ("To {address}.",)
_CONFUSED = "I don't understand."


class Customer:
    """One episode's customer."""

    def __init__(self, script: Script, rng: random.Random) -> None:
        self._script = script
        self._rng = rng
        self._confused = 0

    def say(self, agent: str | None) -> str:
        """The next sentence; `agent` is the agent's last text, None at the beginning."""
        if agent is None:
            return self._opening()
        heard = agent.lower()
        if "goodbye" in heard:
            return STOP
        if "email" in heard:
            return self._pick(_EMAIL)
        if "order" in heard and "?" in heard:
            return self._pick(_ORDER)
        if "address" in heard and self._script.address:
            return self._pick(_ADDRESS)
        self._confused += 1
        return _CONFUSED if self._confused < _MAX_CONFUSED else STOP

    def _opening(self) -> str:
        script = self._script
        what = "my order" if script.opening is Opening.NOTHING else f"order {script.order}"
        text = self._pick(_OPENINGS[script.intent], what=what)
        if script.opening is Opening.BOTH:
            text += f" My email is {script.email}."
        return text

    def _pick(self, lines: Sequence[str], what: str = "") -> str:
        script = self._script
        return self._rng.choice(lines).format(
            what=what, order=script.order, email=script.email, address=script.address
        )
