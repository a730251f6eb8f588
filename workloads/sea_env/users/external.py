"""A user behind any OpenAI-compatible chat endpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

from sea_env.chat import ChatEndpoint, EndpointError, text_of
from sea_env.domains.base import Tool
from sea_env.tokens.messages import AgentTurn, Message
from sea_env.users import openai_chat
from sea_env.users.base import Reply, UserUnavailableError
from sea_env.users.prompt import GREETING, system_prompt


class ExternalUser:
    """One episode's user; the endpoint is shared by all episodes of the process."""

    def __init__(
        self, scenario: Mapping[str, Any], endpoint: ChatEndpoint, tools: Sequence[Tool] = ()
    ) -> None:
        """`tools` are the user's own (telecom)."""
        self._opening = (
            {"role": "system", "content": system_prompt(scenario, tools=bool(tools))},
            {"role": "user", "content": GREETING},
        )
        self._endpoint = endpoint
        self._extra: dict[str, Any] = {"tools": [tool.schema() for tool in tools]} if tools else {}

    async def reply(self, heard: Sequence[Message]) -> Reply:
        """Asks the endpoint; raises UserUnavailableError if it has no usable answer."""
        messages = [*self._opening, *openai_chat.exchanged(heard)]
        try:
            return await self._endpoint.ask(messages, self._read, **self._extra)
        except EndpointError as error:
            raise UserUnavailableError(f"The user has no reply. {error}") from error

    def _read(self, message: Mapping[str, Any]) -> Reply:
        """The message as a reply; an empty one is unusable: ###STOP### ends a dialogue."""
        text = text_of(message)
        if self._extra and message.get("tool_calls"):
            return AgentTurn(text, openai_chat.calls(message["tool_calls"]))
        if not text:
            raise ValueError("it answered an empty message")
        return text
