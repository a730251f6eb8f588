"""What a model says, without what it thought before."""

from collections.abc import Mapping
from typing import Any

_THOUGHT = "</think>"


def text_of(message: Mapping[str, Any]) -> str:
    """A message's text without reasoning, stripped; may be empty."""
    text = spoken_part(str(message.get("content") or ""))
    # Half of a surrogate pair is valid JSON but no text that could be encoded.
    return text.encode("utf-8", "replace").decode("utf-8")


def spoken_part(text: str) -> str:
    """What follows the reasoning of a model whose server leaves it in the text, stripped."""
    return text.rpartition(_THOUGHT)[2].strip()
