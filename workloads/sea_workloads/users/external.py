"""A user behind any OpenAI-compatible chat endpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

from sea_workloads.chat.endpoint import ChatEndpoint, EndpointError, text_of
from sea_workloads.tokens.messages import Message
from sea_workloads.users.base import UserUnavailableError
from sea_workloads.users.prompt import GREETING, system_prompt

_EXCHANGED = {"assistant": "user", "user": "assistant"}


class ExternalUser:
    """One episode's user; the endpoint is shared by all episodes of the process."""

    def __init__(self, scenario: Mapping[str, Any], endpoint: ChatEndpoint) -> None:
        self._system = system_prompt(scenario)
        self._endpoint = endpoint

    async def reply(self, heard: Sequence[Message]) -> str:
        """Asks the endpoint; raises UserUnavailableError where it has no usable answer."""
        try:
            return await self._endpoint.ask(self._messages(heard), _said)
        except EndpointError as error:
            raise UserUnavailableError(f"The user has no reply. {error}") from error

    def _messages(self, heard: Sequence[Message]) -> list[dict[str, str]]:
        opening = [
            {"role": "system", "content": self._system},
            {"role": "user", "content": GREETING},
        ]
        return opening + [{"role": _EXCHANGED[t["role"]], "content": t["content"]} for t in heard]


def _said(message: Mapping[str, Any]) -> str:
    """An empty message is no way to end a call: whoever wants to, says ###STOP###."""
    text = text_of(message)
    if not text:
        raise ValueError("it answered an empty message")
    return text
