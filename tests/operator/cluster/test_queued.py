"""A queue that admits jobs as a whole, as Kueue's external frameworks do: all that it needs.

docs/pods.md describes the contract; `Queue` uses nothing else.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sea_operator.kube.client import STATEFUL_SET
from sea_testing.operator_world import World, settle

pytestmark = pytest.mark.cluster

Reconcile = Callable[..., Awaitable[float | None]]


class Queue:
    """What Kueue asks of a kind of job (its `GenericJob` interface), through `World` alone."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def is_suspended(self) -> bool:
        return bool((await self.world.job())["spec"]["suspend"])

    async def pod_sets(self) -> dict[str, tuple[int, dict[str, Any]]]:
        """Pods of each role, and what one of them requests: the quota that the job needs."""
        spec = (await self.world.job())["spec"]
        blocks = {"trainer": "trainer", "rollout": "rollout", "user": "userModel"}
        counts = {role: spec[block]["replicas"] for role, block in blocks.items()}
        found = {}
        for role, count in {"coordinator": 1, **counts}.items():
            live = await self.world.client.get(STATEFUL_SET, self.world.namespace, f"j-{role}")
            containers = live["spec"]["template"]["spec"]["containers"]
            found[role] = (count, containers[0]["resources"]["requests"])
        return found

    async def admit(self, flavor: str) -> None:
        """Where the quota is, and that the job may run: in one edit, or pods start elsewhere."""
        template = {"template": {"nodeSelector": {"flavor": flavor}}}
        taint = [{"key": "flavor", "operator": "Equal", "value": flavor, "effect": "NoSchedule"}]
        await self.world.edit(
            suspend=False,
            scheduling={"tolerations": taint},
            trainer=template,
            rollout=template,
        )

    async def evict(self) -> None:
        """The job's own selectors come back, as they were before the admission."""
        template = {"template": {"nodeSelector": {"flavor": None}}}
        await self.world.edit(
            suspend=True, scheduling={"tolerations": []}, trainer=template, rollout=template
        )

    async def is_active(self) -> bool:
        """Whether pods still hold the quota."""
        return (await self.world.condition("Suspended"))["status"] != "True"

    async def pods_are_ready(self) -> bool:
        ready = await self.world.condition("Ready")
        return (ready["status"], ready["reason"]) == ("True", "Running")

    async def is_finished(self) -> bool:
        kinds = ("Complete", "Failed")
        return any([(await self.world.condition(kind))["status"] == "True" for kind in kinds])


async def selectors(world: World) -> dict[str, Any]:
    sets = await world.client.list(STATEFUL_SET, world.namespace, "sea-operator.io/job=j")
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"].get("nodeSelector") for one in sets
    }


async def inactive(queue: Queue, reconcile: Reconcile) -> bool:
    await queue.world.force_delete_pods()
    await reconcile(queue.world)
    return not await queue.is_active()


async def test_a_queue_admits_evicts_and_admits_a_job_elsewhere(
    world: World, reconcile: Reconcile, until: Any
) -> None:
    queue = Queue(world)
    await world.create_secret()
    await world.create_job(suspend=True)
    await reconcile(world)
    assert await queue.is_suspended()
    assert not await queue.is_active()
    assert await world.pods() == [], "no pod waits for a quota by itself"
    needed = await queue.pod_sets()
    assert {role: count for role, (count, _) in needed.items()} == {
        "coordinator": 1,
        "trainer": 2,
        "rollout": 1,
        "user": 1,
    }
    assert all(requests["cpu"] for _, requests in needed.values())

    await queue.admit("spot")
    await settle(world, reconcile)
    assert await queue.is_active()
    assert await queue.pods_are_ready()
    assert (await world.status())["trainerAttempt"] == 1, "no pod ran before it was admitted"
    admitted = {"j-trainer": {"flavor": "spot"}, "j-rollout": {"flavor": "spot"}}
    assert await selectors(world) == {"j-coordinator": None, "j-user": None, **admitted}
    assert all(pod["spec"]["tolerations"][0]["value"] == "spot" for pod in await world.pods())

    await queue.evict()
    await reconcile(world)
    assert await queue.is_active(), "the quota is held until the last pod is gone"
    assert world.coordinators["j"].specs[-1].drain, "what was learned is saved first"
    world.coordinators["j"].change(drained=True)
    await until(functools.partial(inactive, queue, reconcile))
    assert await world.pods() == []
    assert not await queue.is_finished()

    await queue.admit("reserved")
    await reconcile(world)
    assert (await selectors(world))["j-trainer"] == {"flavor": "reserved"}
    assert (await world.status())["trainerAttempt"] == 2
    await world.run_pods()
    world.coordinators["j"].change(drained=False)
    world.coordinators["j"].complete("sft", "rl", "eval")
    await reconcile(world)
    await reconcile(world)
    assert await queue.is_finished()
