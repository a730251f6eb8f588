"""A model behind an OpenAI-compatible endpoint: users, judges and synthesis agents talk to one.

`POST {url}/chat/completions` with time-outs, retries and a bound on the reply's size. An endpoint
that hangs, answers 5xx or answers something unusable is asked again, then given up with one
sentence; the caller decides what that means (no verdict, a lost trial).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
from tenacity import AsyncRetrying, stop_after_attempt

from sea_api import limits
from sea_env.errors import EnvError
from sea_env.retry import IF_TRANSIENT, backoff

Answer = TypeVar("Answer")
Sending = Callable[[int, str], None]
"""Called before each attempt: its number from 1, and what was wrong with the previous one."""
_RETRIED_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_MAX_REPLY_BYTES = 8 * 1024 * 1024
_MAX_PAUSE_SECONDS = 20.0
_MAX_SHOWN_BYTES = 200
_END_OF_THOUGHT = "</think>"


class EndpointError(EnvError):
    """The endpoint gives no usable answer: which one, and what it did instead."""

    permanent = False


class RefusedError(EndpointError):
    """It refuses the request permanently (a wrong key, an unknown model)."""

    permanent = True


@dataclass(frozen=True)
class Address:
    """Which model to ask, where, and how often."""

    url: str
    """The base that `/chat/completions` is appended to."""
    model: str
    api_key: str = field(default="", repr=False)
    temperature: float | None = 0.0
    """None leaves it to the server: some models refuse any value."""
    max_tokens: int = limits.USER_MAX_TOKENS
    timeout_s: float = float(limits.REQUEST_TIMEOUT_SECONDS)
    """Of one attempt."""
    attempts: int = 4
    first_pause_s: float = 0.5
    """Before the second attempt; doubles from there."""


class ChatEndpoint:
    """One model. The session is shared by everything in the process."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        address: Address,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._session, self._address, self._sleep = session, address, sleep
        self._url = f"{address.url.rstrip('/')}/chat/completions"
        key = address.api_key
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        read: Callable[[dict[str, Any]], Answer],
        usage: Callable[[Mapping[str, Any]], None] | None = None,
        sending: Sending = lambda number, problem: None,
        **extra: Any,
    ) -> Answer:
        """The model's next message as `read` makes it.

        `read` gets the message (`content`, perhaps `tool_calls`) with the choice's `finish_reason`
        and the request's `usage` added. It raises ValueError with a sentence for an unusable one;
        then the model is asked again. `usage` is called with what each answer used, unusable ones
        included; `sending` is called before each attempt. `extra` is added to the body.

        Raises EndpointError.
        """
        body, problem = self._body(messages, extra), ""
        async for attempt in AsyncRetrying(
            retry=IF_TRANSIENT,
            wait=backoff(self._address.first_pause_s, _MAX_PAUSE_SECONDS),
            stop=stop_after_attempt(self._address.attempts),
            sleep=self._sleep,
            reraise=True,
        ):
            with attempt:
                number = attempt.retry_state.attempt_number
                sending(number, problem)
                try:
                    data = await self._post(body)
                    if usage is not None:
                        usage(_usage(data))
                    return read(_message(data))
                except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                    problem = _sentence(error, self._address.timeout_s)
                    raise EndpointError(
                        f"The endpoint {self._url} (model {self._address.model}) gives no usable "
                        f"answer in {number} attempts: {problem}."
                    ) from error
        raise AssertionError("The last attempt's error is raised again.")

    def _body(
        self, messages: Sequence[Mapping[str, Any]], extra: Mapping[str, Any]
    ) -> dict[str, Any]:
        address = self._address
        body: dict[str, Any] = {"model": address.model, "max_tokens": address.max_tokens}
        if address.temperature is not None:
            body["temperature"] = address.temperature
        return {**body, **extra, "messages": [dict(message) for message in messages]}

    async def _post(self, body: dict[str, Any]) -> bytes:
        timeout = aiohttp.ClientTimeout(total=self._address.timeout_s)
        async with self._session.post(
            self._url, json=body, headers=self._headers, timeout=timeout
        ) as response:
            data = await _bounded(response)
            if response.status == 200:
                return data
            said = (
                f"it answered {response.status}: {data[:_MAX_SHOWN_BYTES].decode(errors='replace')}"
            )
            if response.status in _RETRIED_STATUSES:
                raise ValueError(said)
            raise RefusedError(f"The endpoint {self._url} refuses the request: {said}.")


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for part in response.content.iter_chunked(1 << 16):
        data += part
        if len(data) > _MAX_REPLY_BYTES:
            raise ValueError(f"its answer is longer than {_MAX_REPLY_BYTES} bytes")
    return bytes(data)


def _message(data: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(data)
        choice = reply["choices"][0]
        message, finish, usage = choice["message"], choice.get("finish_reason"), reply.get("usage")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it answered something that is no chat completion ({error})") from error
    if not isinstance(message, dict) or not isinstance(message.get("content"), str | None):
        raise ValueError("it answered a message that has no text")
    return {**message, "finish_reason": finish, "usage": usage}


def _usage(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data).get("usage")
    except (ValueError, AttributeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _sentence(error: Exception, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"it did not answer within {timeout_s:g} s (Timeout)"
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def text_of(message: Mapping[str, Any]) -> str:
    """The message's text without the model's reasoning, stripped; may be empty."""
    # Some servers leave the reasoning in the text.
    text = str(message.get("content") or "").rpartition(_END_OF_THOUGHT)[2].strip()
    # Half of a surrogate pair is valid JSON but can't be encoded.
    return text.encode("utf-8", "replace").decode("utf-8")
