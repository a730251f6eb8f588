"""A user behind any OpenAI-compatible chat endpoint, and its view of a dialogue as chat messages.

Roles are exchanged: what the agent said is what the model that plays the user reads.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sea_env import leaked_calls
from sea_env.chat import ChatEndpoint, text_of
from sea_env.chat_reply import CUT
from sea_env.domains.base import Tool
from sea_env.endpoint_errors import EndpointError
from sea_env.request_form import call_id
from sea_env.tokens import arguments as call_arguments
from sea_env.tokens import plain_json
from sea_env.tokens.messages import MAX_CALLS, AgentTurn, Message, ToolCall, calls_of
from sea_env.users.base import Reply, UserUnavailableError
from sea_env.users.prompt import GREETING, system_prompt

_EXCHANGED = {"assistant": "user", "user": "assistant"}


def exchanged(heard: Sequence[Message]) -> Iterator[dict[str, Any]]:
    """What the user heard, said and did, as the history of the model that plays it.

    Calls get ids in order, and their results the same ids.
    """
    made = answered = 0
    for message in heard:
        if message["role"] == "tool":
            if answered < made:
                yield _result(message, answered)
                answered += 1
            else:  # It answers a malformed call, so there is no id to refer to.
                yield {"role": "user", "content": message["content"]}
            continue
        turn = {"role": _EXCHANGED[message["role"]], "content": message["content"]}
        calls = calls_of(message)
        if calls:
            turn["tool_calls"] = [_call(call, made + i) for i, call in enumerate(calls)]
            made += len(calls)
        yield turn


def calls(given: Any) -> tuple[ToolCall, ...]:
    """An answer's calls; raises ValueError with a sentence for calls that can't be made."""
    if not isinstance(given, list):
        raise ValueError("it answered tool calls that are no list")
    if len(given) > MAX_CALLS:
        raise ValueError(f"it answered {len(given)} tool calls at once, more than {MAX_CALLS}")
    return tuple(_read(call) for call in given)


def _call(call: Message, number: int) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": json.dumps(call["arguments"])}
    return {"id": call_id(number), "type": "function", "function": function}


def _result(message: Message, number: int) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id(number), "content": message["content"]}


def _read(call: Any) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name:
        raise ValueError("it answered a tool call without a name")
    try:
        plain_json.check(name)
        return ToolCall(name, call_arguments.read(function.get("arguments")))
    except ValueError as error:
        raise ValueError(f"it answered a call of {name!r} whose arguments {error}") from error


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
        messages = [*self._opening, *exchanged(heard)]
        try:
            return await self._endpoint.ask(messages, self._read, **self._extra)
        except EndpointError as error:
            raise UserUnavailableError(f"The user has no reply. {error}") from error

    def _read(self, message: Mapping[str, Any]) -> Reply:
        """The message as a reply; an empty one or half of one is unusable: ###STOP### ends a
        dialogue."""
        if message.get("finish_reason") == CUT:
            # Half of a sentence; of a model that thinks, half of a thought.
            raise ValueError("its answer reached its token limit")
        text = text_of(message)
        if self._extra and message.get("tool_calls"):
            return AgentTurn(text, calls(message["tool_calls"]))
        if not text:
            raise ValueError("it answered an empty message")
        leaked = leaked_calls.sentence(text)
        if leaked:
            raise ValueError(f"it answered a call as text. {leaked}")
        return text
