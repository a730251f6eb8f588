"""A job that is suspended drains, releases its pods and resumes."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sea_testing.operator_world import World, settle

pytestmark = pytest.mark.cluster


async def released(world: World, reconcile: Callable[..., Awaitable[float | None]]) -> bool:
    await world.force_delete_pods()
    await reconcile(world)
    return (await world.condition("Suspended"))["status"] == "True"


async def test_a_job_none_of_whose_pods_ever_ran_is_released_at_once(
    world: World, reconcile: Callable[..., Awaitable[float | None]], until: Any
) -> None:
    await world.create_secret()
    await world.create_job()
    await reconcile(world)
    await until(world.judged)  # no node fits
    await reconcile(world)
    await world.edit(suspend=True)
    await reconcile(world)
    assert set((await world.sizes()).values()) == {0}
    await until(functools.partial(released, world, reconcile))
    assert (await world.condition("Ready"))["reason"] == "Suspended"


async def test_suspend_drains_releases_and_resumes(
    world: World, reconcile: Callable[..., Awaitable[float | None]], until: Any
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    coordinator = world.coordinators["j"]
    await world.edit(suspend=True)
    await reconcile(world)
    assert coordinator.specs[-1].drain
    assert (await world.condition("Suspended"))["status"] == "Unknown"
    assert (await world.sizes())["j-trainer"] == 2
    coordinator.change(drained=True)
    await reconcile(world)
    assert set((await world.sizes()).values()) == {0}
    releasing = await world.condition("Suspended")
    assert (releasing["status"], releasing["reason"]) == ("Unknown", "Releasing")
    assert (await world.condition("Ready"))["status"] == "False", "pods still hold GPUs"
    await until(functools.partial(released, world, reconcile))
    assert await world.pods() == []
    assert (await world.condition("Ready"))["reason"] == "Suspended"
    await coordinator.stop()
    await reconcile(world)
    assert set((await world.sizes()).values()) == {0}
    await world.edit(suspend=False)
    await reconcile(world)
    assert (await world.sizes())["j-trainer"] == 2
    assert (await world.status())["trainerAttempt"] == 2


async def test_a_drain_that_never_ends_is_cut_off(
    world: World, reconcile: Callable[..., Awaitable[float | None]], clock: Any
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    clock.hold()
    await world.edit(suspend=True)
    await reconcile(world)
    clock.ahead = 179
    await reconcile(world)
    assert (await world.sizes())["j-trainer"] == 2
    clock.ahead = 182
    await reconcile(world)
    assert set((await world.sizes()).values()) == {0}


async def test_the_time_for_the_last_checkpoint_is_the_jobs(
    world: World, reconcile: Callable[..., Awaitable[float | None]], clock: Any
) -> None:
    await world.create_secret()
    await world.create_job(checkpoint={"drainSeconds": 600})
    await settle(world, reconcile)
    clock.hold()
    await world.edit(suspend=True)
    await reconcile(world)
    clock.ahead = 590
    await reconcile(world)
    assert (await world.sizes())["j-trainer"] == 2
    clock.ahead = 602
    await reconcile(world)
    assert set((await world.sizes()).values()) == {0}
