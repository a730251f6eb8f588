"""Generation with the pod's own engine, through updates, restarts and deaths of that engine."""

import asyncio
import logging
from collections.abc import Sequence

from sea_runtime.errors import RuntimeFailure
from sea_runtime.rollout.engine_client import EngineClient, EngineError, EngineRefusedError
from sea_runtime.rollout.engine_state import EngineState
from sea_runtime.rollout.generation import Generation

_log = logging.getLogger(__name__)
# Enough for an engine that restarts, loads its model and fetches the newest weights.
ENGINE_WAIT_SECONDS = 900.0
MAX_ATTEMPTS = 6
"""Per turn: a request that kills the engine each time must not do so forever."""


class SamplingError(RuntimeFailure):
    """The engine did not come back, or refuses the request: the episode has no verdict."""

    permanent = False


def acceptable(generation: Generation, required: int) -> bool:
    """True if a turn may be kept: it is finished, and by a version that was still allowed.

    A restarted engine answers with the base model until it is updated again.
    """
    # "abort" and "error" are turns that vLLM cut off at an arbitrary token.
    if generation.finish_reason not in {"stop", "length"}:
        return False
    return bool(generation.versions) and min(generation.versions) >= required


class Sampler:
    """Turns of the agent. A turn whose engine died is generated again; earlier turns stay."""

    def __init__(self, engine: EngineClient, state: EngineState) -> None:
        self._engine, self._state = engine, state

    async def generate(
        self,
        prompt: Sequence[int],
        *,
        max_tokens: int,
        temperature: float,
        stop_token_ids: Sequence[int],
    ) -> Generation:
        """Raises SamplingError."""
        problem = ""
        for _ in range(MAX_ATTEMPTS):
            # Before each try: the smallest allowed version may have grown since the last one.
            required = await self._ready()
            try:
                answer = await self._engine.generate(
                    prompt,
                    max_tokens=max_tokens,
                    temperature=temperature,
                    stop_token_ids=stop_token_ids,
                )
            except EngineRefusedError as error:
                raise SamplingError(f"The engine refuses a turn: {error}") from error
            except EngineError as error:
                problem = str(error)
            else:
                if acceptable(answer, required):
                    return answer
                problem = f"it ended with {answer.finish_reason!r}, or with an old weight version"
            _log.info("A turn is generated again: %s", problem)
            # Not ready until the watcher has seen which version the engine really serves.
            self._state.lost()
        raise SamplingError(f"A turn failed {MAX_ATTEMPTS} times, most recently: {problem}.")

    async def _ready(self) -> int:
        try:
            return await asyncio.wait_for(self._state.wait_ready(), ENGINE_WAIT_SECONDS)
        except TimeoutError as error:
            raise SamplingError(
                f"The engine was not ready for {ENGINE_WAIT_SECONDS:.0f} s "
                f"(serves {self._state.version}, required {self._state.required})."
            ) from error
