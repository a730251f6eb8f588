"""How both sides talk: phrases by customer style, drawn from the item's random generator."""

import random
from collections.abc import Mapping, Sequence

from sea_data.synthesis.plan import Style

_OPENINGS: dict[Style, Sequence[str]] = {
    Style.TERSE: ("{request}.", "I need to {request_plain}."),
    Style.POLITE: (
        "Hello! I would like to {request_plain}, please.",
        "Good day. Could you please help me to {request_plain}?",
    ),
    Style.CHATTY: (
        "Hi there, hope your day is going well! So, long story short, I want to {request_plain}.",
        "Hey! It has been quite a week here. Anyway, I was hoping to {request_plain}.",
    ),
    Style.IMPATIENT: (
        "I have little time. I want to {request_plain}.",
        "Please be quick: I need to {request_plain}.",
    ),
    Style.UNSURE: (
        "Hi, I am not sure I am in the right place, but I think I want to {request_plain}.",
        "Hello, maybe you can help me? I would like to {request_plain}.",
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

_NEXT = (
    "One more thing: I want to {request}.",
    "Also, I want to {request}.",
    "Then I want to {request}.",
)

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


class Phrasing:
    """The phrases of one dialogue."""

    def __init__(self, style: Style, rng: random.Random) -> None:
        self.style = style
        self.rng = rng

    def opening(self, request: str) -> str:
        said = self.rng.choice(_OPENINGS[self.style])
        return said.format(request=request[:1].upper() + request[1:], request_plain=request)

    def following(self, request: str) -> str:
        return self.rng.choice(_NEXT).format(request=request)

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
        """The style as an instruction to the user model."""
        return _MANNERS[self.style]


_FIRST = {"{my}": "my", "{I}": "I", "{me}": "me"}
_SECOND = {"{my}": "your", "{I}": "you", "{me}": "you"}


def mine(request: str) -> str:
    """A request in the customer's words: `{my}`, `{me}` and `{I}` in the first person."""
    return _in_person(request, _FIRST)


def yours(request: str) -> str:
    """A request as an instruction to the customer: in the second person."""
    return _in_person(request, _SECOND)


def _in_person(request: str, words: Mapping[str, str]) -> str:
    # Not str.format: a request quotes records, which may contain braces.
    for place, word in words.items():
        request = request.replace(place, word)
    return request
