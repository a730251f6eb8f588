"""What is wrong with a turn, as the sentence that goes into `AgentTurn.error`."""

_SHOWN = 80


class MalformedError(ValueError):
    """Never leaves this package: `reader.py` turns it into `AgentTurn.error`."""


def excerpt(text: str) -> str:
    """The beginning of a text, quoted: the model (or a person) must see which call is meant."""
    shown = text.strip()
    return repr(shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "...")
