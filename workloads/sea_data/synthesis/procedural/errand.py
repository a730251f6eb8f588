"""One errand of a customer: what it wants, and how the agent settles it at the desk."""

from collections.abc import Callable
from dataclasses import dataclass

from sea_data.synthesis.desk import Desk


@dataclass(frozen=True)
class Errand:
    """What the customer wants, and how it ends."""

    wish: str
    """After "I want to" / "You want to"; `{my}`, `{me}` and `{I}` stand for the person."""
    settle: Callable[[Desk], str]
    """Writes the agent's part; returns its closing sentence."""
    communicate: tuple[str, ...] = ()
    note: str = ""
    """What else whoever plays the customer must know."""
    transfers: bool = False
