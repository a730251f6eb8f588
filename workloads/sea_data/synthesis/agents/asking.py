"""One JSON object out of a model's reply; one that can't be used is explained and asked again."""

from collections.abc import Callable
from typing import Any, TypeVar

from sea_data.synthesis.agents.endpoint import Endpoint, Meter
from sea_env.tokens import plain_json

Answer = TypeVar("Answer")
Messages = list[dict[str, Any]]
Use = Callable[[dict[str, Any]], Answer]

TRIES = 3
UNUSABLE = (ValueError, KeyError, TypeError, AttributeError)
"""What reading a model's object raises where it isn't as asked for."""
_LONGEST = 200_000
"""Characters of a reply that are looked at."""


class NonsenseError(Exception):
    """A model gave no usable answer, told why, as often as it may try."""


async def ask(
    endpoint: Endpoint,
    messages: Messages,
    use: Use[Answer],
    meter: Meter,
    *,
    temperature: float = 0.0,
    seed: int | None = None,
) -> Answer:
    """`use` of the reply's object; it raises ValueError for what it can't use.

    Replies and complaints are appended to `messages`, so that a dialogue with a worker goes on.

    Raises:
        NonsenseError: `TRIES` replies were of no use.
        CrewUnavailableError: no reply at all.
    """
    problem = ""
    for _ in range(TRIES):
        text = await endpoint.ask(messages, meter, temperature=temperature, seed=seed)
        messages.append({"role": "assistant", "content": text[:_LONGEST]})
        try:
            return use(parse(text))
        except UNUSABLE as error:
            problem = str(error) or type(error).__name__
            complaint = f"That can't be used: {problem}. Answer with one JSON object only."
            messages.append({"role": "user", "content": complaint})
    raise NonsenseError(f"The model gave no usable answer in {TRIES} tries: {problem}.")


def parse(text: str) -> dict[str, Any]:
    """The object in a reply: after its thinking, inside a fence or among words.

    Raises ValueError where there is none.
    """
    body = text[:_LONGEST].rpartition("</think>")[2]
    start, end = body.find("{"), body.rfind("}")
    if start < 0 or end < start:
        raise ValueError("the answer holds no JSON object")
    value = plain_json.loads(body[start : end + 1])
    if not isinstance(value, dict):
        raise ValueError("the answer isn't a JSON object")
    return value


def text_of(value: dict[str, Any], name: str) -> str:
    """A text of the object, empty where it is absent; ValueError for anything else."""
    found = value.get(name) or ""
    if not isinstance(found, str):
        raise ValueError(f"{name} must be text")
    return found.strip()


def texts_of(value: dict[str, Any], name: str) -> list[str]:
    """A list of texts, empty where it is absent; ValueError for anything else."""
    found = value.get(name) or []
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"{name} must be a list of texts")
    return found
