"""The form of chat requests that one server takes, learned from what it refuses.

Servers differ: some want `max_completion_tokens` for `max_tokens`, some accept only the default
temperature, some know no `seed` or no `reasoning_content` in a message, some refuse a message
without text, a system prompt or a greeting, or want arguments of calls as objects. `ChatEndpoint`
keeps one form for its lifetime, so that each difference costs one refused request and not one per
turn.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from sea_env import tool_schemas
from sea_env.server_errors import Kind, ServerError

_log = logging.getLogger(__name__)

MAX_TOKENS, MAX_COMPLETION_TOKENS = "max_tokens", "max_completion_tokens"
_OMITTABLE = frozenset({"temperature", "seed", "top_p"})
"""Parameters of sampling; without them the server's own defaults apply."""
REASONING = "reasoning_content"
"""What `ChatEndpoint.ask` takes thoughts as; sent under the name that the server itself uses."""
NO_TEXT = "(empty)"
"""What a server reads for a message without text, where it refuses one, and before the model's
greeting, where it wants a user's message first."""
_REASONING_NAMES = (REASONING, "reasoning")


def call_id(number: int) -> str:
    """Id of the dialogue's call of this number, from 0: Mistral takes nine letters or digits alone,
    and any other server whatever it gets."""
    return f"call{number:05d}"


class _Fills(IntEnum):
    """Which messages without text get one, from no refusal to the second."""

    NOTHING = 0
    """OpenAI's form: null next to calls, an empty text in any other message."""
    WITHOUT_CALLS = 1
    """Those without calls get `NO_TEXT`; next to calls an empty text takes the place of null."""
    ALL = 2


class RequestForm:
    """How requests to one server are written."""

    def __init__(self, where: str) -> None:
        """`where` names the server in log lines."""
        self._where = where
        self._tokens = MAX_TOKENS
        self._omitted: set[str] = set()
        self._reasoning: str | None = REASONING
        self._wants_reasoning = False
        """In every message of the model, an empty one where it had none."""
        self._fills = _Fills.NOTHING
        self._no_keywords: set[str] = set()
        """Of JSON schema, left out of the tools."""
        self._user_first = False
        self._no_system = False
        self._objects = False
        """Arguments of calls are sent as objects instead of texts."""
        self.version = 0
        """Changes with every refusal that was learned from."""

    @property
    def omitted(self) -> frozenset[str]:
        """Parameters that the server refuses and requests leave out."""
        return frozenset(self._omitted)

    def body(
        self,
        parameters: Mapping[str, Any],
        messages: Sequence[Mapping[str, Any]],
        max_tokens: int | None,
    ) -> dict[str, Any]:
        """The request; `max_tokens` None leaves the length to the server."""
        kept = {name: value for name, value in parameters.items() if name not in self._omitted}
        if max_tokens is not None:
            kept[self._tokens] = max_tokens
        if self._no_keywords and kept.get("tools"):
            kept["tools"] = tool_schemas.without(kept["tools"], self._no_keywords)
        sent = [self._message(message) for message in messages]
        if self._no_system:
            sent = _without_system(sent)
        if self._user_first:
            sent = _with_user_first(sent)
        return {**kept, "messages": sent}

    def _message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in message.items() if name != REASONING}
        wanted = self._wants_reasoning and message.get("role") == "assistant"
        if self._reasoning and (REASONING in message or wanted):
            kept[self._reasoning] = message.get(REASONING, "")
        if self._fills and not kept.get("content"):
            bare = self._fills is _Fills.WITHOUT_CALLS and kept.get("tool_calls")
            kept["content"] = "" if bare else NO_TEXT
        if self._objects and "tool_calls" in kept:
            kept["tool_calls"] = [_with_object(call) for call in kept["tool_calls"]]
        return kept

    def heard(self, answer: Mapping[str, Any]) -> None:
        """Takes up what the server calls the thoughts in its own messages."""
        used = next((name for name in _REASONING_NAMES if answer.get(name)), None)
        if used and self._reasoning:
            self._reasoning = used

    def learn(self, error: ServerError) -> bool:
        """Takes up what the server refused; False if no other form would do."""
        learned = {
            Kind.MISSING: self._learn_missing,
            Kind.EMPTY_MESSAGE: self._learn_empty,
            Kind.TEXT_ARGUMENTS: self._learn_objects,
            Kind.TOOL_SCHEMA: self._learn_keywords,
            Kind.NO_SYSTEM: self._learn_no_system,
            Kind.USER_FIRST: self._learn_user_first,
            Kind.UNSUPPORTED: self._learn_unsupported,
        }
        found = error.kind in learned and learned[error.kind](error)
        self.version += found
        return found

    def _learn_missing(self, _: ServerError) -> bool:
        known, self._wants_reasoning = self._wants_reasoning, True
        return not known

    def _learn_empty(self, error: ServerError) -> bool:
        if self._fills is _Fills.ALL:
            return False
        self._fills = _Fills(self._fills + 1)
        # A warning: the model reads something that nobody wrote.
        _log.warning(
            "%s refuses messages without text (%s): they are sent as %r.",
            self._where,
            error.message,
            NO_TEXT,
        )
        return True

    def _learn_objects(self, _: ServerError) -> bool:
        known, self._objects = self._objects, True
        return not known

    def _learn_keywords(self, error: ServerError) -> bool:
        before = len(self._no_keywords)
        self._no_keywords |= set(error.parameter.split())
        return len(self._no_keywords) > before

    def _learn_no_system(self, error: ServerError) -> bool:
        known, self._no_system = self._no_system, True
        if not known:
            # A warning: another role for the policy gives other scores.
            _log.warning(
                "%s has no role for the system prompt (%s): it is written before the user's first "
                "message.",
                self._where,
                error.message,
            )
        return not known

    def _learn_user_first(self, error: ServerError) -> bool:
        known, self._user_first = self._user_first, True
        if not known:
            # A warning: as for messages without text.
            _log.warning(
                "%s wants a user's message first (%s): it gets %r before the model's greeting.",
                self._where,
                error.message,
                NO_TEXT,
            )
        return not known

    def _learn_unsupported(self, error: ServerError) -> bool:
        name = error.parameter
        if name == MAX_TOKENS and self._tokens == MAX_TOKENS:
            self._tokens = MAX_COMPLETION_TOKENS
        elif name in _OMITTABLE and name not in self._omitted:
            self._omitted.add(name)
            # A warning: scores with another temperature are other scores.
            _log.warning(
                "%s refuses %s (%s): it is left out, and the server's default applies.",
                self._where,
                name,
                error.message,
            )
        elif name in _REASONING_NAMES and self._reasoning:
            self._reasoning = None
            _log.warning("%s takes no reasoning in messages: it is left out.", self._where)
        else:
            return False
        return True


def _with_object(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": json.loads(function["arguments"])}}


def _without_system(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The system prompt in the user's first message, or in one of its own before a greeting."""
    if not messages or messages[0]["role"] != "system":
        return [*messages]
    system, *rest = messages
    if not rest or rest[0]["role"] != "user":
        return [{**system, "role": "user"}, *rest]
    return [{**rest[0], "content": f"{system['content']}\n\n{rest[0]['content']}"}, *rest[1:]]


def _with_user_first(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Before a greeting of the model, which is a dialogue's first message, a user's."""
    place = next((i for i, one in enumerate(messages) if one["role"] != "system"), 0)
    greets = bool(messages) and messages[place]["role"] == "assistant"
    user = [{"role": "user", "content": NO_TEXT}] if greets else []
    return [*messages[:place], *user, *messages[place:]]
