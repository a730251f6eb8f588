"""The model behind the agents: `ChatEndpoint` with its tokens counted, and nothing but text out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sea_data.synthesis.crew import CrewUnavailableError
from sea_env.chat import ChatEndpoint, EndpointError, text_of

Answer = TypeVar("Answer")
Waiting = Callable[[str], None]
"""Told why the model has to be asked again; an empty text once it has answered."""


@dataclass
class Meter:
    """Tokens of one item, or of planning and reflection."""

    tokens: int = 0

    def count(self, usage: Mapping[str, Any]) -> None:
        """Adds what the endpoint says a request took; it may say nothing or nonsense."""
        used = usage.get("total_tokens")
        self.tokens += used if isinstance(used, int) else 0


class Endpoint:
    """Asks one model; shared by all items of a run."""

    def __init__(self, chat: ChatEndpoint, waiting: Waiting = lambda problem: None) -> None:
        self._chat, self._waiting = chat, waiting
        self.sent = 0
        """Attempts of requests so far, which are numbered from 1 as they are sent."""
        self.answered = 0
        """The newest of them that got a usable reply."""

    async def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        meter: Meter,
        *,
        temperature: float,
        seed: int | None = None,
    ) -> str:
        """The reply's text. Raises CrewUnavailableError when all attempts came to nothing."""
        extra = {"temperature": temperature} | ({} if seed is None else {"seed": seed})
        return await self.read(messages, text_of, meter, **extra)

    async def read(
        self,
        messages: Sequence[Mapping[str, Any]],
        use: Callable[[dict[str, Any]], Answer],
        meter: Meter,
        **extra: Any,
    ) -> Answer:
        """The reply's message as `use` makes it; ValueError of `use` has it asked for again."""
        number = 0

        def sending(attempt: int, problem: str) -> None:
            nonlocal number
            self.sent += 1
            number = self.sent
            if problem:
                self._waiting(f"attempt {attempt}: {problem}")

        try:
            answer = await self._chat.ask(
                messages, use, usage=meter.count, sending=sending, **extra
            )
        except EndpointError as error:
            raise CrewUnavailableError(
                f"{error} What was made so far is kept: correct --endpoint and --model or start "
                "the server, then run again with --resume."
            ) from error
        # A reply to an old request may come after a newer one has failed: it says nothing of now.
        self.answered = max(self.answered, number)
        self._waiting("")
        return answer
