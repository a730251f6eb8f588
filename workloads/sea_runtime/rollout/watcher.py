"""Keeps an eye on the pod's engine: notices that it is there, gone, restarted, or left paused."""

import asyncio
import logging

from sea_runtime.rollout.engine_client import EngineClient, EngineError
from sea_runtime.rollout.engine_state import EngineState

_log = logging.getLogger(__name__)
PERIOD_S = 1.0


async def recover(engine: EngineClient) -> None:
    """Leaves no engine paused, whatever a dead updater did to it.

    Paused with whole weights: it goes on. Paused in mid-update: its weights are half-loaded, so it
    is ended and comes back with the base model.
    """
    if not await engine.is_paused():
        return
    if await engine.is_applying():
        _log.warning("The engine was left in the middle of an update: it is restarted.")
        await engine.terminate()
        raise EngineError("The engine is being restarted.")
    _log.warning("The engine was left paused: it is resumed.")
    await engine.resume()


async def look(engine: EngineClient, state: EngineState) -> None:
    """One look; an engine seen again after an absence is recovered before it counts."""
    if state.updating:
        return
    before = state.changes
    try:
        if state.version is None:
            await recover(engine)
        version: int | None = await engine.version()
    except EngineError as error:
        version = None
        if state.version is not None:
            _log.warning("The engine does not answer: %s", error)
    if not state.updating and state.changes == before:
        state.serves(version)


async def watch(engine: EngineClient, state: EngineState, period_s: float = PERIOD_S) -> None:
    """Looks for ever; at once when somebody else lost the engine."""
    while True:
        await look(engine, state)
        await asyncio.sleep(period_s)
