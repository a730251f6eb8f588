"""An edit of sizes, templates or tokens: which pods are replaced, and which join."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sea_operator.kube.client import SECRET
from sea_testing.operator_world import World, settle

pytestmark = pytest.mark.cluster


async def test_more_rollouts_join_without_a_restart(
    world: World, reconcile: Callable[..., Awaitable[float | None]]
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    before = {pod["metadata"]["uid"] for pod in await world.pods()}
    await world.edit(rollout={"replicas": 3})
    await reconcile(world)
    await world.run_pods(count=7)
    assert before <= {pod["metadata"]["uid"] for pod in await world.pods()}
    assert (await world.status())["trainerAttempt"] == 1


async def test_more_trainer_pods_begin_an_attempt_of_the_new_size(
    world: World, reconcile: Callable[..., Awaitable[float | None]]
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    await world.edit(trainer={"replicas": 4})
    await reconcile(world)
    assert (await world.sizes())["j-trainer"] == 4
    coordinator = world.coordinators["j"]
    assert coordinator.specs[-1].attempt == 2
    await world.run_pods(count=7)
    await reconcile(world)
    assert coordinator.specs[-1].attempt == 2
    assert (await world.status())["restarts"]["counted"] == 0


async def test_a_changed_template_replaces_the_pods(
    world: World, reconcile: Callable[..., Awaitable[float | None]], until: Any
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    before = {p["metadata"]["name"]: p["metadata"]["uid"] for p in await world.pods()}
    trainer = {"template": {"env": [{"name": "X", "value": "1"}]}}
    await world.edit(trainer=trainer)
    await reconcile(world)

    async def replaced() -> Any:
        await reconcile(world)
        await world.force_delete_pods()
        now = {p["metadata"]["name"]: p["metadata"]["uid"] for p in await world.pods()}
        changed = {name for name in before if now.get(name, before[name]) != before[name]}
        return changed == {"j-trainer-0", "j-trainer-1"} and set(now) == set(before)

    await until(replaced)
    pods = {pod["metadata"]["name"]: pod for pod in await world.pods()}
    with_x = {
        name
        for name, pod in pods.items()
        if {"name": "X", "value": "1"} in pod["spec"]["containers"][0]["env"]
    }
    assert with_x == {"j-trainer-0", "j-trainer-1"}
    kept = {name for name in before if pods[name]["metadata"]["uid"] == before[name]}
    assert kept == set(before) - with_x


async def test_a_lost_token_is_made_again_and_the_pods_with_it(
    world: World, reconcile: Callable[..., Awaitable[float | None]], until: Any
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    old = await world.token()
    secret = await world.client.get(SECRET, world.namespace, "j-auth")
    await world.client.delete(SECRET, world.namespace, "j-auth", secret["metadata"]["uid"])
    await reconcile(world)
    assert await world.token() not in (None, old)
