"""The model behind the agents: asked for a text, a message, or one JSON object.

`ModelClient` counts tokens and numbers requests on top of `sea_env.chat.ChatEndpoint`, which
retries. `ask_json` explains to the model what is wrong with an unusable reply and asks
again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sea_data.errors import DataError
from sea_data.synthesis.backend import BackendUnavailableError
from sea_env import chat
from sea_env.chat import ChatEndpoint
from sea_env.endpoint_errors import EndpointError
from sea_env.tokens import plain_json

Answer = TypeVar("Answer")
Messages = list[dict[str, Any]]
Use = Callable[[dict[str, Any]], Answer]
OnRetry = Callable[[str], None]
"""Gets the reason why the model is asked again, and an empty text once it has answered."""

MAX_TRIES = 3
"""Replies to one question."""
UNUSABLE = (ValueError, KeyError, TypeError, AttributeError)
"""What reading a model's object raises if the object isn't as requested."""
_MAX_REPLY = 200_000
"""Characters of a reply that are read."""


class UnusableReplyError(DataError):
    """The model gave `MAX_TRIES` unusable replies to one question."""


@dataclass
class TokenMeter:
    """Tokens of one item, or of planning and reflection."""

    tokens: int = 0

    def count(self, usage: Mapping[str, Any]) -> None:
        """Adds the endpoint's `usage`, which may be missing or malformed."""
        used = usage.get("total_tokens")
        self.tokens += used if isinstance(used, int) else 0


class ModelClient:
    """Asks one model; shared by all items of a run."""

    def __init__(self, endpoint: ChatEndpoint, on_retry: OnRetry = lambda problem: None) -> None:
        self._endpoint, self._on_retry = endpoint, on_retry
        self.sent = 0
        """Attempts of requests so far; they are numbered from 1 in the order of sending."""
        self.answered = 0
        """The highest number of an attempt that got a usable reply."""

    async def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        meter: TokenMeter,
        *,
        temperature: float,
        seed: int | None = None,
    ) -> str:
        """The reply's text. Raises BackendUnavailableError if all attempts fail."""
        extra = {"temperature": temperature} | ({} if seed is None else {"seed": seed})
        return await self.read(messages, chat.text_of, meter, **extra)

    async def read(
        self,
        messages: Sequence[Mapping[str, Any]],
        use: Callable[[dict[str, Any]], Answer],
        meter: TokenMeter,
        **extra: Any,
    ) -> Answer:
        """`use` of the reply's message; if `use` raises ValueError, the model is asked again."""
        number = 0

        def sending(attempt: int, problem: str) -> None:
            nonlocal number
            # Counted per attempt, retries included: `engine._charge` compares these numbers.
            self.sent += 1
            number = self.sent
            if problem:
                self._on_retry(f"attempt {attempt}: {problem}")

        try:
            answer = await self._endpoint.ask(
                messages, use, usage=meter.count, sending=sending, **extra
            )
        except EndpointError as error:
            raise BackendUnavailableError(
                f"{error} What was made so far is kept: correct --endpoint and --model or start "
                "the server, then run again with --resume."
            ) from error
        # The reply to an old request may arrive after a newer one has failed. It doesn't show that
        # the endpoint works now, so `answered` counts requests, not replies.
        self.answered = max(self.answered, number)
        self._on_retry("")
        return answer


async def ask_json(
    client: ModelClient,
    messages: Messages,
    use: Use[Answer],
    meter: TokenMeter,
    *,
    temperature: float = 0.0,
    seed: int | None = None,
) -> Answer:
    """`use` of the JSON object in the reply; `use` raises one of `UNUSABLE` to have it redone.

    Replies and complaints are appended to `messages`, so that a conversation can go on.

    Raises:
        UnusableReplyError: `MAX_TRIES` replies were unusable.
        BackendUnavailableError: no reply at all.
    """
    problem = ""
    for _ in range(MAX_TRIES):
        text = await client.ask(messages, meter, temperature=temperature, seed=seed)
        messages.append({"role": "assistant", "content": text[:_MAX_REPLY]})
        try:
            return use(parse(text))
        except UNUSABLE as error:
            problem = str(error) or type(error).__name__
            complaint = f"That can't be used: {problem}. Answer with one JSON object only."
            messages.append({"role": "user", "content": complaint})
    raise UnusableReplyError(f"The model gave no usable answer in {MAX_TRIES} tries: {problem}.")


def parse(text: str) -> dict[str, Any]:
    """The object in a reply: after its thinking, inside a fence or among words.

    Raises ValueError if there is none.
    """
    # The last closing tag: a thinking model may quote one while it thinks.
    body = text[:_MAX_REPLY].rpartition("</think>")[2]
    start, end = body.find("{"), body.rfind("}")
    if start < 0 or end < start:
        raise ValueError("the answer holds no JSON object")
    value = plain_json.loads(body[start : end + 1])
    if not isinstance(value, dict):
        raise ValueError("the answer isn't a JSON object")
    return value


def text_of(value: dict[str, Any], name: str) -> str:
    """A text field of the object, empty if absent; raises ValueError for another type."""
    found = value.get(name) or ""
    if not isinstance(found, str):
        raise ValueError(f"{name} must be text")
    return found.strip()


def texts_of(value: dict[str, Any], name: str) -> list[str]:
    """A list of texts, empty if absent; raises ValueError for another type."""
    found = value.get(name) or []
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"{name} must be a list of texts")
    return found
