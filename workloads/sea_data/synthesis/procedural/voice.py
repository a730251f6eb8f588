"""How the two sides talk: turns of phrase by style, drawn from the item's generator."""

import random
from collections.abc import Mapping, Sequence

from sea_data.synthesis.plan import Style

_OPENINGS: dict[Style, Sequence[str]] = {
    Style.TERSE: ("{wish}.", "I need to {wish_plain}."),
    Style.POLITE: (
        "Hello! I would like to {wish_plain}, please.",
        "Good day. Could you please help me to {wish_plain}?",
    ),
    Style.CHATTY: (
        "Hi there, hope your day is going well! So, long story short, I want to {wish_plain}.",
        "Hey! It has been quite a week here. Anyway, I was hoping to {wish_plain}.",
    ),
    Style.IMPATIENT: (
        "I have little time. I want to {wish_plain}.",
        "Please be quick: I need to {wish_plain}.",
    ),
    Style.UNSURE: (
        "Hi, I am not sure I am in the right place, but I think I want to {wish_plain}.",
        "Hello, maybe you can help me? I would like to {wish_plain}.",
    ),
}

_YES: dict[Style, Sequence[str]] = {
    Style.TERSE: ("Yes.", "Yes, do it."),
    Style.POLITE: ("Yes, please go ahead. Thank you.", "Yes, please."),
    Style.CHATTY: ("Yes, that sounds right to me, go ahead!", "Yes, perfect, let's do that."),
    Style.IMPATIENT: ("Yes, go on.", "Yes, just do it."),
    Style.UNSURE: ("Yes, I think that is right.", "Yes, if that is how it works, please do."),
}

_NO_CHOICE: dict[Style, Sequence[str]] = {
    Style.TERSE: ("All right.", "Fine."),
    Style.POLITE: ("I understand, thank you for looking.", "All right, thank you."),
    Style.CHATTY: ("Oh well, it was worth asking!", "A pity, but I see."),
    Style.IMPATIENT: ("Fine, leave it then.", "Then leave it."),
    Style.UNSURE: ("Oh, I see. Then leave it as it is.", "All right, I didn't know that."),
}

_NEXT = ("One more thing: I want to {wish}.", "Also, I want to {wish}.", "Then I want to {wish}.")

_MANNERS: dict[Style, str] = {
    Style.TERSE: "You write very short messages.",
    Style.POLITE: "You are polite and patient.",
    Style.CHATTY: "You are friendly and like to chat, but you stay with your request.",
    Style.IMPATIENT: "You are in a hurry and want this settled quickly.",
    Style.UNSURE: "You are unsure how things work, but you know what you want.",
}

_CONFIRM = (
    "{what} Do you confirm this (yes or no)?",
    "Let me sum up before I do anything: {what} Shall I go ahead (yes or no)?",
    "{what} Please confirm with yes and I will do it.",
)

ANYTHING_ELSE = (
    "Is there anything else I can do for you?",
    "Can I help you with anything else?",
    "Is there something else you need?",
)


class Voice:
    """The turns of phrase of one dialogue."""

    def __init__(self, style: Style, rng: random.Random) -> None:
        self.style = style
        self.rng = rng

    def opening(self, wish: str) -> str:
        said = self.rng.choice(_OPENINGS[self.style])
        return said.format(wish=wish[:1].upper() + wish[1:], wish_plain=wish)

    def following(self, wish: str) -> str:
        return self.rng.choice(_NEXT).format(wish=wish)

    def yes(self) -> str:
        return self.rng.choice(_YES[self.style])

    def resigned(self) -> str:
        return self.rng.choice(_NO_CHOICE[self.style])

    def confirm(self, what: str) -> str:
        """The agent's question before it changes something."""
        return self.rng.choice(_CONFIRM).format(what=what)

    def anything_else(self) -> str:
        return self.rng.choice(ANYTHING_ELSE)

    @property
    def manner(self) -> str:
        """The style as an instruction to whoever plays the customer."""
        return _MANNERS[self.style]


_FIRST = {"{my}": "my", "{I}": "I", "{me}": "me"}
_SECOND = {"{my}": "your", "{I}": "you", "{me}": "you"}


def mine(wish: str) -> str:
    """A wish as the customer says it: `{my}`, `{me}` and `{I}` in the first person."""
    return _in_person(wish, _FIRST)


def yours(wish: str) -> str:
    """The same as an instruction to the customer."""
    return _in_person(wish, _SECOND)


def _in_person(wish: str, words: Mapping[str, str]) -> str:
    # Not str.format: a wish quotes records, which may hold braces.
    for place, word in words.items():
        wish = wish.replace(place, word)
    return wish
