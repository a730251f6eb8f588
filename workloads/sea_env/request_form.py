"""The form of chat requests that one server takes, learned from what it refuses.

Servers differ: some want `max_completion_tokens` for `max_tokens`, some accept only the default
temperature, some know no `seed` or no `reasoning_content` in a message. `ChatEndpoint` keeps one
form for its lifetime, so that each difference costs one refused request and not one per turn.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from sea_env.server_errors import Kind, ServerError

_log = logging.getLogger(__name__)

MAX_TOKENS, MAX_COMPLETION_TOKENS = "max_tokens", "max_completion_tokens"
_OMITTABLE = frozenset({"temperature", "seed", "top_p"})
"""Parameters of sampling; without them the server's own defaults apply."""
REASONING = "reasoning_content"
"""What `ChatEndpoint.ask` takes thoughts as; sent under the name that the server itself uses."""
_REASONING_NAMES = (REASONING, "reasoning")


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
        return {**kept, "messages": [self._message(message) for message in messages]}

    def _message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in message.items() if name != REASONING}
        wanted = self._wants_reasoning and message.get("role") == "assistant"
        if self._reasoning and (REASONING in message or wanted):
            kept[self._reasoning] = message.get(REASONING, "")
        return kept

    def heard(self, answer: Mapping[str, Any]) -> None:
        """Takes up what the server calls the thoughts in its own messages."""
        used = next((name for name in _REASONING_NAMES if answer.get(name)), None)
        if used and self._reasoning:
            self._reasoning = used

    def learn(self, error: ServerError) -> bool:
        """Takes up what the server refused; False if no other form would do."""
        name = error.parameter
        if error.kind is Kind.MISSING:
            known, self._wants_reasoning = self._wants_reasoning, True
            self.version += not known
            return not known
        if error.kind is not Kind.UNSUPPORTED:
            return False
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
        self.version += 1
        return True
