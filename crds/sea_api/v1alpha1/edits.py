"""When an edit of a field takes effect: one of four classes per field, declared on the models.

From here the CRD's descriptions and the field reference say it, the API server's rules enforce it,
and the coordinator reports from which step an edit holds.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Effect(StrEnum):
    """What an edit of a running job does."""

    NEXT_STEP = "next step"
    """Holds within seconds, from the next optimizer step, batch, group or episode on. Nothing
    restarts but work that is made from it (a running synthesis)."""
    NEXT_STAGE = "next stage"
    """Holds for a stage that has not begun; the API server refuses it for one that has."""
    NEW_ATTEMPT = "new attempt"
    """The pods or processes that read it start again with it."""
    IMMUTABLE = "immutable"
    """Refused by the API server."""


SENTENCES = {
    Effect.NEXT_STEP: "An edit holds from the next step.",
    Effect.NEXT_STAGE: "An edit is refused once the stage has begun.",
    Effect.NEW_ATTEMPT: "An edit replaces the pods that read it.",
    Effect.IMMUTABLE: "Immutable.",
}
"""What the description of a field of each class ends with."""


@dataclass(frozen=True)
class Edits:
    """The classes of a model's fields: one for all, and exceptions by (Python) field name."""

    usual: Effect
    exceptions: dict[str, Effect] = field(default_factory=dict)

    def but(self, effect: Effect, *names: str) -> "Edits":
        """The same with another class for these fields."""
        return Edits(self.usual, {**self.exceptions, **dict.fromkeys(names, effect)})

    def of(self, name: str) -> Effect:
        return self.exceptions.get(name, self.usual)


NEXT_STEP = Edits(Effect.NEXT_STEP)
NEXT_STAGE = Edits(Effect.NEXT_STAGE)
NEW_ATTEMPT = Edits(Effect.NEW_ATTEMPT)
IMMUTABLE = Edits(Effect.IMMUTABLE)
