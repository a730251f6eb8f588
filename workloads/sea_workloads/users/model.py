"""A user played by a model at token level: same renderer, roles exchanged.

The user model is the "assistant" of its own dialogue; what the agent says are its "user" turns.
Like the agent's, its history grows by exact prefixes and is never encoded again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sea_workloads.tokens.messages import Message
from sea_workloads.tokens.renderer import Renderer
from sea_workloads.users.base import Signal
from sea_workloads.users.prompt import system_prompt

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
    ) -> None:
        self._renderer = renderer
        self._generate = generate
        self._context_length = context_length
        self._max_tokens = max_tokens
        self._ids = renderer.opening(system_prompt(scenario))
        self._heard = 0

    async def reply(self, heard: Sequence[Message]) -> str:
        """The next text; a dialogue that outgrew the model's context ends with ###STOP###."""
        agent = [str(turn["content"]) for turn in heard if turn["role"] == "assistant"]
        new = agent[self._heard :]
        self._heard = len(agent)
        if new:
            self._ids += self._renderer.user_message("\n".join(new))
        room = min(self._max_tokens, self._context_length - len(self._ids))
        if room < 1:
            return Signal.STOP
        generated = list(await self._generate(self._ids, room))
        self._ids += generated
        end = self._renderer.end_id
        if end in generated:
            generated = generated[: generated.index(end)]
        else:
            self._ids.append(end)
        return self._renderer.parse(generated).text or Signal.STOP
