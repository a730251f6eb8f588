"""A mistake that only the coordinator can see costs no GPU: no such pod exists before the check."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sea_api.wire.state import Problem
from sea_testing.operator_world import World

pytestmark = pytest.mark.cluster

GPUS: dict[str, Any] = {
    "trainer": {"replicas": 2, "gpusPerPod": 8},
    "rollout": {"replicas": 1, "gpusPerPod": 8},
}
NONE = {"j-coordinator": 1, "j-trainer": 0, "j-rollout": 0, "j-user": 1}
ALL = {"j-coordinator": 1, "j-trainer": 2, "j-rollout": 1, "j-user": 1}


async def test_a_mistake_stalls_the_job_before_a_pod_with_gpus_exists(
    world: World, reconcile: Callable[..., Awaitable[float | None]]
) -> None:
    await world.create_secret()
    await world.create_job(**GPUS)
    await reconcile(world)
    assert await world.sizes() == NONE
    await world.run_pods(count=2)
    coordinator = world.coordinators["j"]
    coordinator.change(prepared=False)
    await reconcile(world)
    await reconcile(world)
    waits = await world.condition("Reconciling")
    assert (waits["status"], waits["reason"]) == ("True", "CheckingInputs")
    assert await world.sizes() == NONE
    sentence = "s3://bucket/rl.jsonl does not exist. Upload the file."
    coordinator.change(problem=Problem(reason="DataNotFound", message=sentence))
    await reconcile(world)
    stalled = await world.condition("Stalled")
    assert (stalled["status"], stalled["message"]) == ("True", sentence)
    assert await world.sizes() == NONE
    coordinator.change(problem=None, prepared=True)
    await reconcile(world)
    assert await world.sizes() == ALL
    # An edit that is being checked, or a file that broke, takes no pod away.
    coordinator.change(prepared=False)
    await reconcile(world)
    assert await world.sizes() == ALL
