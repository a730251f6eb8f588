"""The entities of shop databases, and which of them are held out from training data.

The split is by whole entity: a held-out order id or email is an unseen combination of tokens that
all occur in training (a split that held out whole letters could not be learned).
"""

import zlib
from enum import StrEnum

NAMES = (
    "Ann", "Ben", "Cem", "Dan", "Eva", "Fay", "Gus", "Hal", "Ida", "Jon",
    "Kim", "Leo", "Mia", "Ned", "Ola", "Pia", "Ron", "Sue", "Tom", "Uma",
)  # fmt: skip
STREETS = (
    "Ash", "Bay", "Elm", "Fir", "Hill", "Lake", "Mill", "Oak", "Park", "Pine", "Rose", "Vale",
)  # fmt: skip
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "0123456789"
STATUSES = ("pending", "shipped", "delivered")
_HELD_OUT = 5


class Split(StrEnum):
    """Which entities may appear: those for training, the held-out ones, or all."""

    TRAIN = "train"
    TEST = "test"
    ALL = "all"

    def admits(self, entity: str) -> bool:
        """Whether this split may use the entity (an order id or an email)."""
        held_out = zlib.crc32(entity.encode()) % _HELD_OUT == 0
        return self is Split.ALL or held_out == (self is Split.TEST)


def orders(split: Split) -> list[str]:
    """Order ids of a split: a letter and a digit."""
    return [order for a in LETTERS for b in DIGITS if split.admits(order := a + b)]


def emails(split: Split) -> list[str]:
    """Emails of a split: a name, a digit and a constant suffix."""
    return [e for name in NAMES for digit in DIGITS if split.admits(e := f"{name}{digit}@shop")]


def addresses() -> list[str]:
    """Streets with house numbers; they are not split, all occur in training."""
    return [f"{street} {digit}" for street in STREETS for digit in DIGITS]
