"""One OpenAI-compatible chat endpoint: time-outs, retries, and nothing but text out of it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from sea_workloads.synthesis.crew import CrewUnavailableError

_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_SHOWN = 200


@dataclass(frozen=True)
class Access:
    """Where the model is and how patient to be."""

    url: str
    """Base address that `/chat/completions` is appended to."""
    model: str
    api_key: str = ""
    timeout_s: float = 300.0
    """Of one request."""
    attempts: int = 5
    first_pause_s: float = 0.5
    """Before the second attempt; doubles with each further one."""
    max_tokens: int = 4096


@dataclass
class Meter:
    """Tokens of one item, or of planning and reflection."""

    tokens: int = 0


class Endpoint:
    """Asks one model; shared by all items of a run."""

    def __init__(self, session: aiohttp.ClientSession, access: Access) -> None:
        self._session = session
        self._access = access
        self._url = f"{access.url.rstrip('/')}/chat/completions"
        self._headers = {"Authorization": f"Bearer {access.api_key}"} if access.api_key else {}
        self._timeout = aiohttp.ClientTimeout(total=access.timeout_s)

    async def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        meter: Meter,
        *,
        temperature: float,
        seed: int | None = None,
    ) -> str:
        """The reply's text. Raises CrewUnavailableError when all attempts came to nothing."""
        body: dict[str, Any] = {
            "model": self._access.model,
            "messages": list(messages),
            "temperature": temperature,
            "max_tokens": self._access.max_tokens,
        }
        if seed is not None:
            body["seed"] = seed
        pause, problem = self._access.first_pause_s, ""
        for attempt in range(self._access.attempts):
            if attempt:
                await asyncio.sleep(pause)
                pause *= 2
            try:
                return await self._once(body, meter)
            except _PassingError as error:
                problem = str(error)
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = f"{type(error).__name__} {error}".strip()
        raise CrewUnavailableError(
            f"The endpoint {self._url} gives no answer: {problem}. What was made so far is kept: "
            "correct --endpoint or start the server, then run again with --resume."
        )

    async def _once(self, body: dict[str, Any], meter: Meter) -> str:
        async with self._session.post(
            self._url, json=body, headers=self._headers, timeout=self._timeout
        ) as response:
            if response.status != 200:
                said = (await response.text(errors="replace"))[:_SHOWN]
                problem = f"it answered {response.status}: {said}"
                if response.status in _RETRIED:
                    raise _PassingError(problem)
                raise CrewUnavailableError(f"The endpoint {self._url} refuses: {problem}")
            try:
                reply = await response.json(content_type=None)
            except ValueError as error:
                raise _PassingError(f"its answer isn't JSON ({error})") from error
        return _text(reply, meter)


class _PassingError(Exception):
    """May be gone at the next attempt."""


def _text(reply: Any, meter: Meter) -> str:
    try:
        content = reply["choices"][0]["message"]["content"]
        used = (reply.get("usage") or {}).get("total_tokens") or 0
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise _PassingError("it answered something that is no chat completion") from error
    meter.tokens += used if isinstance(used, int) else 0
    # Half of a surrogate pair is valid JSON but no text that could be encoded.
    return str(content or "").encode("utf-8", "replace").decode("utf-8").strip()
