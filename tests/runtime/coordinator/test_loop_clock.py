"""Silence of pods counts only while the coordinator could have heard them."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from sea_runtime.coordinator.background import MAX_STEP_SECONDS, LoopClock
from sea_runtime.coordinator.ledger.episodes import Worker
from sea_testing.coordinator import inprocess as kit


@pytest.mark.parametrize(
    ("steps", "counted"),
    [([0.25] * 8, 2.0), ([40.0], MAX_STEP_SECONDS), ([0.5, 40.0, 0.5], 1.0 + MAX_STEP_SECONDS)],
)
async def test_a_standstill_of_the_loop_does_not_count(steps: list[float], counted: float) -> None:
    real = kit.Clock()
    clock = LoopClock(real)
    task = asyncio.create_task(clock.run())
    await asyncio.sleep(0)
    before = clock()
    for step in steps:
        real.now += step
        now = clock()
    assert now - before == pytest.approx(counted)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    real.now += 40.0
    assert clock() - now == 40.0, "without its ticks every second counts"


async def test_leases_of_living_workers_survive_a_standstill(tmp_path: Path) -> None:
    """Their heartbeats are still in the sockets when leases are looked at."""
    real = kit.Clock()
    core = kit.coordinator(tmp_path, kit.desired(kit.spec()), real)
    task = asyncio.create_task(core.member_clock.run())
    await asyncio.sleep(0)
    core.heartbeats.heard(kit.beat("rollout-0", "rollout", "life", adopted=0))
    real.now += 40.0
    assert core.membership.gone(Worker("rollout-0", "life")) is None
    for _ in range(16):
        real.now += 1.0
        silent = core.membership.gone(Worker("rollout-0", "life"))
    assert silent is not None
    task.cancel()
