"""Only pods of this very job's StatefulSets count, and only the operator's own containers fail."""

import copy
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sea_operator.kube.client import JOB, POD
from sea_testing.operator_world import World, settle

pytestmark = pytest.mark.cluster

ENDED = {
    "exitCode": 255,
    "reason": "Error",
    "startedAt": "2026-11-29T22:00:00Z",
    "finishedAt": "2026-11-29T22:00:01Z",
}
FAIL_ON_EXIT = {"rules": [{"role": "Rollout", "cause": "ProcessExit", "action": "FailJob"}]}


def container(name: str, state: dict[str, Any], **more: Any) -> dict[str, Any]:
    known = {"name": name, "image": "x", "imageID": "x", "ready": False, "restartCount": 7}
    return {**known, "state": state, **more}


async def report(world: World, name: str, ready: str, **containers: Any) -> None:
    """What the kubelet says of a pod."""
    conditions = [{"type": "Ready", "status": ready}]
    await world.patch(POD, name, {"status": {"conditions": conditions, **containers}}, "status")


async def test_a_sidecar_of_somebody_else_that_ends_is_no_failure_of_the_job(
    world: World, reconcile: Callable[..., Awaitable[float | None]]
) -> None:
    await world.create_secret()
    await world.create_job(failurePolicy=FAIL_ON_EXIT)
    await settle(world, reconcile)
    running = {"running": {"startedAt": "2026-11-29T22:00:00Z"}}
    proxy = container("istio-proxy", running, lastState={"terminated": ENDED})
    await report(world, "j-rollout-0", "True", containerStatuses=[proxy])
    await reconcile(world)
    assert (await world.condition("Failed"))["status"] == "False"
    own = container("engine", running, lastState={"terminated": ENDED})
    await report(world, "j-rollout-0", "True", containerStatuses=[proxy, own])
    await reconcile(world)
    failed = await world.condition("Failed")
    assert (failed["status"], failed["reason"]) == ("True", "FailurePolicy")
    assert "engine" in failed["message"]


async def test_an_injected_init_container_that_fails_explains_why_the_pod_is_not_ready(
    world: World, reconcile: Callable[..., Awaitable[float | None]]
) -> None:
    await world.create_secret()
    await world.create_job(failurePolicy=FAIL_ON_EXIT)
    await settle(world, reconcile)
    crash = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}
    init = container("istio-init", crash, lastState={"terminated": ENDED})
    waits = {"waiting": {"reason": "PodInitializing"}}
    engine, worker = container("engine", waits), container("worker", waits)
    statuses = {"initContainerStatuses": [init], "containerStatuses": [engine, worker]}
    await report(world, "j-rollout-0", "False", **statuses)
    await reconcile(world)
    ready = await world.condition("Ready")
    assert "j-rollout-0: init container istio-init restarted 7 times" in ready["message"]
    assert (await world.condition("Failed"))["status"] == "False"


async def test_pods_of_an_earlier_job_of_this_name_count_for_nothing(
    world: World, reconcile: Callable[..., Awaitable[float | None]], until: Any
) -> None:
    await world.create_secret()
    first = await world.create_job()
    await settle(world, reconcile)
    old = world.coordinators["j"]
    for pod in await world.pods():
        body = {"metadata": {"finalizers": ["example.com/hold"]}}
        await world.patch(POD, pod["metadata"]["name"], body)
    await world.client.delete(JOB, world.namespace, "j", first["metadata"]["uid"])
    await until(functools.partial(all_leave, world))
    second = await world.create_job(failurePolicy=FAIL_ON_EXIT)
    running = {"running": {"startedAt": "2026-11-29T22:00:00Z"}}
    own = container("engine", running, lastState={"terminated": ENDED})
    await report(world, "j-rollout-0", "True", containerStatuses=[own])

    async def has_sets() -> bool:
        await reconcile(world)
        return len(await world.sizes()) == 4

    await until(has_sets)
    await reconcile(world)
    assert await world.pods() != [], "the old ones linger"
    roles = (await world.status())["roles"]
    assert {role["ready"] for role in roles.values()} == {0}
    assert (await world.condition("Failed"))["status"] == "False"
    sent = copy.copy(old.specs)
    await reconcile(world)
    assert old.specs == sent, "the old job's coordinator is told nothing"
    assert second["metadata"]["uid"] not in {spec.uid for spec in old.specs}
    for pod in await world.pods():
        await world.patch(POD, pod["metadata"]["name"], {"metadata": {"finalizers": None}})
    await until(functools.partial(new_pods, world, second["metadata"]["uid"], reconcile))


async def test_a_deleting_job_that_a_finalizer_holds_says_so_and_releases_its_pods(
    world: World, reconcile: Callable[..., Awaitable[float | None]], until: Any
) -> None:
    await world.create_secret()
    job = await world.create_job()
    await settle(world, reconcile)
    await world.patch(JOB, "j", {"metadata": {"finalizers": ["example.com/billing"]}})
    await world.client.delete(JOB, world.namespace, "j", job["metadata"]["uid"])

    async def no_pods() -> bool:
        await reconcile(world)
        await world.force_delete_pods()
        return not await world.pods()

    await until(no_pods)
    ready = await world.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Deleting")
    assert "example.com/billing" in ready["message"]
    await world.patch(JOB, "j", {"metadata": {"finalizers": None}})
    assert await reconcile(world) is None


async def test_a_job_deleted_with_its_children_orphaned_takes_none_of_them(
    world: World, reconcile: Callable[..., Awaitable[float | None]]
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    body = {"propagationPolicy": "Orphan"}
    await world.client.request("DELETE", JOB.path(world.namespace, "j"), [], body)
    for _ in range(3):
        await reconcile(world)
    assert len(await world.sizes()) == 4


async def all_leave(world: World) -> bool:
    await world.force_delete_pods()
    pods = await world.pods()
    return not await world.sizes() and all("deletionTimestamp" in p["metadata"] for p in pods)


async def new_pods(world: World, uid: str, reconcile: Any) -> bool:
    await world.force_delete_pods()
    await reconcile(world)
    pods = await world.pods()
    return len(pods) == 5 and not any("deletionTimestamp" in p["metadata"] for p in pods)
