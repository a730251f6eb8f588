"""A user played by a model at token level: the same renderer, roles exchanged.

The user model is the "assistant" of its own dialogue; the agent's texts are its "user" turns. Like
the agent's, its history grows by exact prefixes and is never encoded again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sea_env.domains.base import Tool
from sea_env.tokens.messages import AgentTurn, Message
from sea_env.tokens.renderer import Renderer
from sea_env.users.base import Reply, Signal
from sea_env.users.prompt import system_prompt

_EXCHANGED = {"assistant": "user", "user": "assistant", "tool": "tool"}

Generate = Callable[[Sequence[int], int], Awaitable[Sequence[int]]]
"""`await generate(prompt_ids, max_tokens) -> generated ids`; raises UserUnavailableError."""


class ModelUser:
    """One episode's user; keeps the token history of its own dialogue."""

    def __init__(
        self,
        scenario: Mapping[str, Any],
        renderer: Renderer,
        generate: Generate,
        *,
        context_length: int,
        max_tokens: int,
        tools: Sequence[Tool] = (),
    ) -> None:
        """`tools` are the user's own (telecom)."""
        self._renderer = renderer
        self._generate = generate
        self._context_length = context_length
        self._max_tokens = max_tokens
        self._parameters = {tool.name: tool.parameters for tool in tools}
        self._prompt = system_prompt(scenario, tools=bool(tools))
        self._schemas = [tool.schema() for tool in tools]
        self._ids: list[int] = []
        self._heard = 0

    async def reply(self, heard: Sequence[Message]) -> Reply:
        """The next text or calls; a dialogue that outgrew the model's context ends with
        ###STOP###."""
        self._listen(heard[self._heard :])
        self._heard = len(heard)
        room = min(self._max_tokens, self._context_length - len(self._ids))
        if room < 1:
            return Signal.STOP
        generated = list(await self._generate(self._ids, room))
        self._ids += generated
        end = self._renderer.end_id
        if end not in generated:
            self._ids.append(end)
        return self._turn(self._renderer.parse(generated, self._parameters))

    def _turn(self, turn: AgentTurn) -> Reply:
        """Calls count only from a user with tools; a truncated text counts as said."""
        failed = turn.complete and turn.error and turn.text
        if self._schemas and (turn.tool_calls or failed):
            return turn
        return turn.text or Signal.STOP

    def _listen(self, new: Sequence[Message]) -> None:
        """Appends what is new since the last reply: results of the user's calls, or agent texts.

        The user's own turns are in the ids already, as the model generated them; but a dialogue may
        begin with a history.
        """
        if not self._ids:
            said = [{**message, "role": _EXCHANGED[message["role"]]} for message in new]
            self._ids = self._renderer.opening(self._prompt, said, self._schemas)
            return
        results = [str(message["content"]) for message in new if message["role"] == "tool"]
        words = [str(message["content"]) for message in new if message["role"] == "assistant"]
        if results:
            self._ids += self._renderer.tool_results(results)
        if words:
            self._ids += self._renderer.user_message("\n".join(words))
