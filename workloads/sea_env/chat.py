"""A model behind an OpenAI-compatible endpoint: users, judges and synthesis agents talk to one.

`POST {url}/chat/completions` with time-outs, retries and a bound on the reply's size. What an
error means is read by `server_errors`: a form that this server doesn't take is changed
(`request_form`), a rate limit is waited out (`rate_limits`), an endpoint that hangs, answers 5xx or
something unusable is asked again, then given up with one sentence; the caller decides what that
means (no verdict, a lost trial).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import aiohttp
from tenacity import AsyncRetrying, RetryCallState

from sea_api import limits
from sea_env import chat_reply, rate_limits, server_errors
from sea_env.endpoint_errors import (
    ContextFullError,
    EndpointError,
    RateLimitedError,
    RefusedError,
    UnparsedTurnError,
    UnreadableTurnError,
)
from sea_env.request_form import RequestForm
from sea_env.retry import IF_TRANSIENT, backoff
from sea_env.server_errors import Kind, ServerError

Answer = TypeVar("Answer")
Sending = Callable[[int, str], None]
"""Called before each attempt: its number from 1, and what was wrong with the previous one."""
_MAX_PAUSE_SECONDS = 20.0
MAX_ASKED_PAUSE_SECONDS = 120.0
"""Longest pause that a server's `Retry-After` gets; then it is asked again."""
RATE_LIMIT_SECONDS = 900.0
"""Pauses of one request together, while the server answers that it is asked too often."""
_MAX_FORMS = 12
"""Requests of one attempt that are refused for their form: each changes it."""
_OF_FORM = frozenset(
    {
        Kind.ANSWER_TOO_LONG,
        Kind.EMPTY_MESSAGE,
        Kind.MISSING,
        Kind.NO_SYSTEM,
        Kind.TEXT_ARGUMENTS,
        Kind.TOOL_SCHEMA,
        Kind.UNSUPPORTED,
        Kind.USER_FIRST,
    }
)
_END_OF_THOUGHT = "</think>"


class _UnfitFormError(Exception):
    """The server takes another form of this request."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(error.message)
        self.error = error


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
    """Seconds of one attempt."""
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
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`now` is what a `Retry-After` that is a date is compared with."""
        self._session, self._address, self._sleep, self._now = session, address, sleep, now
        self._url = f"{address.url.rstrip('/')}/chat/completions"
        self.form = RequestForm(f"The endpoint {self._url} (model {address.model})")
        """Learned from refusals; shared by all requests."""
        key = address.api_key
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        read: Callable[[dict[str, Any]], Answer],
        usage: Callable[[Mapping[str, Any]], None] | None = None,
        sending: Sending = lambda number, problem: None,
        unreadable: Callable[[str], Answer] | None = None,
        **extra: Any,
    ) -> Answer:
        """The model's next message as `read` makes it.

        `read` gets the message (`content`, perhaps `tool_calls`) with the choice's `finish_reason`
        and the request's `usage` added, and with `shortened` true if the context had less room
        than `max_tokens`. It raises ValueError with a sentence for an unusable one; then the model
        is asked again. `usage` is called with what each answer used, unusable ones included;
        `sending` is called before each attempt. `unreadable` makes an answer of the server's words
        about a call that it can't read; without it the model gets another try, which an agent that
        is scored must not. Where the server's parser may be wrong the model always gets one, with
        the next seed. `extra` is added to the body.

        Raises EndpointError; of its kinds ContextFullError if the prompt alone doesn't fit.
        """
        problem, budget = "", _RetryBudget(self._address)
        async for attempt in AsyncRetrying(
            retry=IF_TRANSIENT,
            wait=budget.wait,
            stop=budget.is_exhausted,
            sleep=self._sleep,
            reraise=True,
        ):
            with attempt:
                number = attempt.retry_state.attempt_number
                sending(number, problem)
                try:
                    reply, shortened = await self._settled(messages, extra)
                    if usage is not None:
                        usage(chat_reply.usage_of(reply))
                    message = chat_reply.message_of(reply)
                    self.form.heard(message)
                    return read({**message, "shortened": shortened})
                except UnparsedTurnError as error:
                    problem = str(error)
                    extra = _next_seed(extra)
                    raise
                except (RateLimitedError, UnreadableTurnError) as error:
                    if unreadable is not None and isinstance(error, UnreadableTurnError):
                        return unreadable(error.said)
                    problem = str(error)
                    raise
                except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                    problem = _sentence(error, self._address.timeout_s)
                    raise EndpointError(
                        f"The endpoint {self._url} (model {self._address.model}) gives no usable "
                        f"answer in {number} attempts: {problem}."
                    ) from error
        raise AssertionError("The last attempt's error is raised again.")

    async def _settled(
        self, messages: Sequence[Mapping[str, Any]], extra: Mapping[str, Any]
    ) -> tuple[Any, bool]:
        """The answer to this request in the form that the server takes, and whether it asked for
        fewer tokens than wanted. At most `_MAX_FORMS` requests, without pauses."""
        address = self._address
        parameters = {"model": address.model, "temperature": address.temperature, **extra}
        if parameters["temperature"] is None:
            del parameters["temperature"]
        most: int | None = address.max_tokens
        for _ in range(_MAX_FORMS):
            form = self.form.version
            try:
                body = self.form.body(parameters, messages, most)
                return await self._post(body), most != address.max_tokens
            except _UnfitFormError as unfit:
                error = unfit.error
                if error.kind is Kind.ANSWER_TOO_LONG and most is not None:
                    # Fewer than before: a server that contradicts itself must not be asked forever.
                    most = None if error.room is None else min(error.room, most - 1)
                # Requests go out at the same time: another one's refusal may have changed the form
                # since this one was sent.
                elif form == self.form.version and not self.form.learn(error):
                    raise self._refused(error) from unfit
                last = error
        raise self._refused(last)

    async def _post(self, body: dict[str, Any]) -> Any:
        timeout = aiohttp.ClientTimeout(total=self._address.timeout_s)
        async with self._session.post(
            self._url, json=body, headers=self._headers, timeout=timeout
        ) as response:
            data = await chat_reply.bounded(response.content)
            status = response.status
            if status == 200:
                reply = chat_reply.parsed(data)
                found = server_errors.in_success(reply)
                if found is None:
                    return reply
                status = found
            text = data.decode(errors="replace")
            self._raise(server_errors.read(status, text), response.headers, text)
        raise AssertionError("an error is raised")

    def _raise(self, error: ServerError, headers: Mapping[str, str], body: str) -> None:
        if error.kind in _OF_FORM:
            raise _UnfitFormError(error)
        if error.kind is Kind.UNREADABLE:
            raise UnreadableTurnError(
                f"The endpoint {self._url} (model {self._address.model}) can't read what the "
                f"model wrote: {_said(error)}.",
                error.message,
            )
        if error.kind is Kind.UNPARSED:
            raise UnparsedTurnError(
                f"The parser of the endpoint {self._url} (model {self._address.model}) fails on "
                f"what the model writes, however often it is asked: {_said(error)}. llama.cpp's "
                "parser also fails on turns that are well-formed: use another build of it or "
                "another server."
            )
        pause_s = rate_limits.pause_asked(headers, body, self._now())
        if error.kind is Kind.RATE_LIMITED or (error.kind is Kind.BUSY and pause_s is not None):
            raise RateLimitedError(
                f"The endpoint {self._url} (model {self._address.model}) is asked too often or "
                f"busy for longer than {RATE_LIMIT_SECONDS:g} s: {_said(error)}. Lower the "
                "concurrency, or raise the account's limit.",
                pause_s,
            )
        if error.kind is Kind.BUSY:
            raise ValueError(_said(error))
        raise self._refused(error)

    def _refused(self, error: ServerError) -> RefusedError:
        if error.kind in (Kind.CONTEXT_FULL, Kind.ANSWER_TOO_LONG):
            return ContextFullError(
                f"The prompt doesn't fit the context of the model {self._address.model} at "
                f"{self._url}: {_said(error)}."
            )
        return RefusedError(f"The endpoint {self._url} refuses the request: {_said(error)}.")


class _RetryBudget:
    """How long one request is retried: attempts, and the sum of a rate limit's pauses."""

    def __init__(self, address: Address, jitter: Callable[[], float] = random.random) -> None:
        self._attempts, self._jitter = address.attempts, jitter
        self._backoff = backoff(address.first_pause_s, _MAX_PAUSE_SECONDS, jitter)
        self._failed = 0
        self._waited_s = 0.0

    def wait(self, state: RetryCallState) -> float:
        """Seconds until the next attempt."""
        error = _error(state)
        if not isinstance(error, RateLimitedError):
            self._failed += 1
            return self._backoff(state)
        asked = error.pause_s
        # Up to a tenth longer than asked, so that clients that were sent away together don't come
        # back together; never shorter, which some servers answer with a longer pause.
        pause = (
            self._backoff(state)
            if asked is None
            else min(asked, MAX_ASKED_PAUSE_SECONDS) * (1 + 0.1 * self._jitter())
        )
        self._waited_s += pause
        return pause

    def is_exhausted(self, state: RetryCallState) -> bool:
        """Called after `wait`."""
        if isinstance(_error(state), RateLimitedError):
            return self._waited_s > RATE_LIMIT_SECONDS
        return self._failed >= self._attempts


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _next_seed(extra: dict[str, Any]) -> dict[str, Any]:
    """The same seed would give the same turn."""
    seed = extra.get("seed")
    return {**extra, "seed": seed + 1} if isinstance(seed, int) else extra


def _said(error: ServerError) -> str:
    return f"it answered {error.status}: {error.message}"


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
