"""The status on a real API server names the pods that aren't there, and says why."""

from collections.abc import Awaitable, Callable

import pytest

from sea_operator.kube.client import POD
from sea_testing.operator_world import Clock, World, settle

pytestmark = pytest.mark.cluster


async def test_a_pod_that_a_finalizer_holds_is_named_with_it(
    world: World, reconcile: Callable[..., Awaitable[float | None]], clock: Clock
) -> None:
    """`cases/k8s/08-pod-stuck-terminating`."""
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    await world.patch(POD, "j-trainer-1", {"metadata": {"finalizers": ["example.com/hold"]}})
    uid = (await world.client.get(POD, world.namespace, "j-trainer-1"))["metadata"]["uid"]
    await world.client.delete(POD, world.namespace, "j-trainer-1", uid, 0)
    clock.ahead = 45.0
    await reconcile(world)
    status = await world.status()
    assert status["state"] == "Waiting: PodsNotReady"
    message = (await world.condition("Ready"))["message"]
    assert "j-trainer-1: its deletion is more than 30 s overdue, held by the finalizers" in message
    assert "example.com/hold" in message
    await world.patch(POD, "j-trainer-1", {"metadata": {"finalizers": None}})


async def test_an_engine_that_never_becomes_ready_stalls_the_job_and_recovers_by_itself(
    world: World, reconcile: Callable[..., Awaitable[float | None]]
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    since = {"lastTransitionTime": "2027-01-15T08:00:00Z"}
    ended = {"exitCode": 1, "reason": "Error", "message": "x\nRuntimeError: no such model\n"}
    container = {
        "name": "engine",
        "image": "i",
        "imageID": "",
        "ready": False,
        "restartCount": 6,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended},
    }
    failing = {
        "startTime": "2027-01-15T08:00:00Z",
        "conditions": [{"type": "Ready", "status": "False", **since}],
        "containerStatuses": [container],
    }
    await world.patch(POD, "j-rollout-0", {"status": failing}, "status")
    await reconcile(world)
    assert (await world.status())["state"] == "Stalled: NeverReady"
    assert "RuntimeError: no such model" in (await world.condition("Stalled"))["message"]
    healthy = {"conditions": [{"type": "Ready", "status": "True", **since}]}
    await world.patch(POD, "j-rollout-0", {"status": healthy}, "status")
    await reconcile(world)
    assert (await world.status())["state"] == "Running"
