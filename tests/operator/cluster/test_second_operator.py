"""Two operators that were installed for the same jobs: noticed, named, and no pod pays for it."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sea_operator.claims import ASIDE_SECONDS, CLAIM_SECONDS, RIVAL_SECONDS
from sea_operator.coordinator_link import CoordinatorLink
from sea_operator.kube.client import EVENT
from sea_operator.settings import Images, Settings
from sea_testing.operator_client import Recorder
from sea_testing.operator_world import RunningOperator, World

pytestmark = pytest.mark.cluster


@pytest.fixture
async def second(recorder: Recorder, world: World, clock: Any) -> AsyncIterator[RunningOperator]:
    """Of another release, in a namespace whose name comes later."""
    images = Images("other/coordinator", "other/trainer", "other/rollout")
    settings = Settings(identity="two", lease_namespace="zz-other", images=images)
    async with aiohttp.ClientSession() as session:
        running = RunningOperator(recorder, CoordinatorLink(session), world, clock, settings)
        tasks = [asyncio.create_task(one.run()) for one in running.reflectors]
        for one in running.reflectors:
            await one.synced.wait()
        yield running
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def heard_of(operator: RunningOperator, name: str, until: Any) -> None:
    async def heard() -> bool:
        view = operator.view()
        return view is not None and view.job.status.operator == name

    await until(heard)


async def sees_engines(operator: RunningOperator, count: int) -> bool:
    """Whether its watch has brought the edited spec."""
    view = operator.view()
    return (
        view is not None and view.job.spec is not None and view.job.spec.rollout.replicas == count
    )


async def engines(world: World) -> int:
    """Size of the rollouts' set: what an operator that acts brings to the spec's."""
    return (await world.sizes())["j-rollout"]


async def test_of_two_operators_one_stands_aside_and_names_the_other(
    operator: RunningOperator, second: RunningOperator, world: World, until: Any
) -> None:
    await operator.settle()
    pods = {pod["metadata"]["uid"] for pod in await world.pods()}
    before = await engines(world)
    await heard_of(second, "sea-system/sea-operator", until)
    await world.edit(rollout={"replicas": before + 1})
    await until(functools.partial(sees_engines, second, before + 1))
    await second.a_pass()  # announces itself, and touches nothing
    assert await engines(world) == before
    await heard_of(operator, "zz-other/sea-operator", until)
    await operator.a_pass()  # takes the job back
    await heard_of(second, "sea-system/sea-operator", until)
    assert await second.a_pass() == ASIDE_SECONDS
    second.ahead += CLAIM_SECONDS
    for _ in range(3):
        assert await second.a_pass() == ASIDE_SECONDS
        await operator.a_pass()
    assert (await world.status())["operator"] == "sea-system/sea-operator"
    assert await engines(world) == before + 1
    assert {pod["metadata"]["uid"] for pod in await world.pods()} >= pods
    events = await world.client.list(EVENT, world.namespace, "")
    told = [event["message"] for event in events if event["reason"] == "OperatorConflict"]
    assert len(told) == 1
    said = "zz-other/sea-operator leaves this job to operator sea-system/sea-operator"
    assert said in told[0]
    notice = await world.condition("OperatorConflict")
    assert (notice["status"], said in notice["message"]) == ("True", True)
    operator.ahead += RIVAL_SECONDS
    await operator.a_pass()
    assert (await world.condition("OperatorConflict"))["status"] == "Absent"


async def test_an_operator_that_was_reinstalled_elsewhere_takes_over_after_a_pause(
    operator: RunningOperator, second: RunningOperator, world: World, until: Any
) -> None:
    await operator.settle()
    before = await engines(world)
    await heard_of(second, "sea-system/sea-operator", until)
    await world.edit(rollout={"replicas": before + 1})
    await until(functools.partial(sees_engines, second, before + 1))
    await second.a_pass()
    assert await engines(world) == before
    second.ahead += CLAIM_SECONDS
    await second.a_pass()
    assert await engines(world) == before + 1
