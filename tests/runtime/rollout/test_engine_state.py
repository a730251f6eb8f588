"""A task that waits for the engine wakes up exactly when it may generate."""

import asyncio

from sea_runtime.rollout import weight_swap
from sea_runtime.rollout.engine_state import EngineState
from sea_runtime.wire.weights import PrefetchState, PrefetchStatus
from sea_testing.waiting import HANG_S


async def test_ready_means_serving_the_required_version() -> None:
    state = EngineState()
    waiting = asyncio.ensure_future(state.wait_ready())
    for version, required in ((0, 2), (1, 2)):
        state.serves(version)
        state.require(required)
        await asyncio.sleep(0)
        assert not state.ready
        assert not waiting.done()
    state.serves(2)
    assert await asyncio.wait_for(waiting, HANG_S) == 2
    state.lost()
    assert not state.ready


async def test_repeated_observations_are_no_change() -> None:
    """Otherwise every observation of the engine would end the updater's long poll."""
    state = EngineState()
    state.serves(3)
    before = state.changes
    state.serves(3)
    assert state.changes == before


def test_an_engines_status_is_that_of_its_slowest_worker() -> None:
    """And failed as soon as one of them is."""
    ready, running, failed = (
        PrefetchStatus(state=s)
        for s in (PrefetchState.READY, PrefetchState.RUNNING, PrefetchState.FAILED)
    )
    assert weight_swap.slowest([ready, running]) == running
    assert weight_swap.slowest([ready, failed, running]) == failed
    assert weight_swap.slowest([ready]) == ready
