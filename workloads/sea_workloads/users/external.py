"""A user behind any OpenAI-compatible chat endpoint."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from sea_workloads.tokens.messages import Message
from sea_workloads.users.base import Signal, UserUnavailableError
from sea_workloads.users.prompt import GREETING, system_prompt

_ATTEMPTS = 4
_FIRST_PAUSE_S = 0.5
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class ExternalUser:
    """One episode's user. The session is shared by all episodes of the process."""

    def __init__(
        self,
        scenario: Mapping[str, Any],
        session: aiohttp.ClientSession,
        *,
        url: str,
        model: str,
        api_key: str = "",
        temperature: float = 0.0,
        max_tokens: int = 2048,
        timeout_s: float = 120.0,
    ) -> None:
        """`url` is the base that `/chat/completions` is appended to."""
        self._system = system_prompt(scenario)
        self._session = session
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._body = {"model": model, "temperature": temperature, "max_tokens": max_tokens}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def reply(self, heard: Sequence[Message]) -> str:
        """Asks the endpoint; retries what may pass, gives up with UserUnavailableError."""
        body = {**self._body, "messages": self._messages(heard)}
        pause = _FIRST_PAUSE_S
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(pause)
                pause *= 2
            try:
                async with self._session.post(
                    self._url, json=body, headers=self._headers, timeout=self._timeout
                ) as response:
                    if response.status == 200:
                        return _text(await response.json(content_type=None), self._url)
                    problem = f"it answered {response.status}: {(await response.text())[:200]}"
                    if response.status not in _RETRIED:
                        break
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                problem = f"{type(error).__name__}: {error}"
        raise UserUnavailableError(f"The user's endpoint {self._url} gives no reply: {problem}.")

    def _messages(self, heard: Sequence[Message]) -> list[dict[str, str]]:
        exchanged = {"assistant": "user", "user": "assistant"}
        turns = [{"role": "system", "content": self._system}, {"role": "user", "content": GREETING}]
        turns += [{"role": exchanged[t["role"]], "content": t["content"]} for t in heard]
        return turns


def _text(reply: Any, url: str) -> str:
    try:
        content = reply["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise UserUnavailableError(
            f"The user's endpoint {url} answered something that is no chat completion."
        ) from error
    # Half of a surrogate pair is valid JSON but no text that could be encoded.
    text = str(content or "").encode("utf-8", "replace").decode("utf-8")
    return text.strip() or Signal.STOP
