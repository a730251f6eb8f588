"""Generation with the pod's own engine, through updates, restarts and deaths of that engine."""

import asyncio
import logging
from collections.abc import Sequence

from sea_runtime.rollout.engine_client import EngineClient, EngineError, EngineRefusedError
from sea_runtime.rollout.engine_state import EngineState
from sea_runtime.rollout.generation import Generation

_log = logging.getLogger(__name__)
ENGINE_WAIT_S = 900.0
ATTEMPTS = 6
"""Per turn: a request that kills the engine again and again must not do so for ever."""


class PolicyUnavailableError(RuntimeError):
    """The engine did not come back, or refuses the request: the episode has no verdict."""


def acceptable(generation: Generation, required: int) -> bool:
    """Whether a turn may be kept: finished, and by a version that was still allowed.

    A restarted engine answers with the base model until it is updated again.
    """
    if generation.finish_reason not in {"stop", "length"}:
        return False
    return bool(generation.versions) and min(generation.versions) >= required


class Policy:
    """Turns of the agent. A turn whose engine died is generated anew; earlier turns stay."""

    def __init__(
        self, engine: EngineClient, state: EngineState, engine_wait_s: float = ENGINE_WAIT_S
    ) -> None:
        self._engine, self._state, self._engine_wait_s = engine, state, engine_wait_s

    async def generate(
        self,
        prompt: Sequence[int],
        *,
        max_tokens: int,
        temperature: float,
        stop_token_ids: Sequence[int],
    ) -> Generation:
        """Raises PolicyUnavailableError."""
        problem = ""
        for _ in range(ATTEMPTS):
            required = await self._ready()
            try:
                answer = await self._engine.generate(
                    prompt,
                    max_tokens=max_tokens,
                    temperature=temperature,
                    stop_token_ids=stop_token_ids,
                )
            except EngineRefusedError as error:
                raise PolicyUnavailableError(f"The engine refuses a turn: {error}") from error
            except EngineError as error:
                problem = str(error)
            else:
                if acceptable(answer, required):
                    return answer
                problem = f"it ended by {answer.finish_reason!r}, or with an old weight version"
            _log.info("A turn is generated again: %s", problem)
            self._state.lost()  # until the watcher has seen what the engine really serves
        raise PolicyUnavailableError(f"A turn failed {ATTEMPTS} times, at last: {problem}.")

    async def _ready(self) -> int:
        try:
            return await asyncio.wait_for(self._state.wait_ready(), self._engine_wait_s)
        except TimeoutError as error:
            raise PolicyUnavailableError(
                f"The engine was not ready for {self._engine_wait_s:.0f} s "
                f"(serves {self._state.version}, required {self._state.required})."
            ) from error
