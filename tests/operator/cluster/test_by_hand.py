"""What people and tools do to a running job's objects by hand: mended, or left alone for good."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sea_operator.errors import RejectedError
from sea_operator.kube.client import DISRUPTION_BUDGET, JOB, SECRET, SERVICE, STATEFUL_SET, Kind
from sea_testing.operator_world import RunningOperator, World

pytestmark = pytest.mark.cluster

TRAINER = "j-trainer"
RESTARTED = "kubectl.kubernetes.io/restartedAt"


async def scale_a_set(world: World) -> None:
    """`kubectl scale statefulset`: two pods too many."""
    await world.patch(STATEFUL_SET, TRAINER, {"spec": {"replicas": 4}}, "scale")


async def restart_a_set(world: World) -> None:
    """`kubectl rollout restart statefulset`."""
    template = {"metadata": {"annotations": {RESTARTED: "2027-01-15T08:00:00Z"}}}
    await world.patch(STATEFUL_SET, TRAINER, {"spec": {"template": template}})


async def delete_a_budget(world: World) -> None:
    live = await world.client.get(DISRUPTION_BUDGET, world.namespace, TRAINER)
    uid = live["metadata"]["uid"]
    await world.client.delete(DISRUPTION_BUDGET, world.namespace, TRAINER, uid)


async def take_a_label(world: World) -> None:
    """Without it no watch shows the object any more."""
    await world.patch(SERVICE, TRAINER, {"metadata": {"labels": {"sea-operator.io/job": None}}})


async def hold_a_set(world: World) -> None:
    """A finalizer of somebody's backup."""
    meta = {"metadata": {"finalizers": ["example.com/backup"]}}
    await world.patch(STATEFUL_SET, "j-user", meta)


async def empty_the_status(world: World) -> None:
    path = JOB.path(world.namespace, "j", "status")
    await world.client.request("PATCH", path, [], {"status": None}, "application/merge-patch+json")


async def apply_the_crd_again(world: World) -> None:
    """With another description, as an upgrade of the chart does."""
    crds = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
    name = "seatrainingjobs.sea-operator.io"
    note = {"metadata": {"annotations": {"test": world.namespace}}}
    await world.client.request(
        "PATCH", crds.path(None, name), [], note, "application/merge-patch+json"
    )


HANDS: tuple[Callable[[World], Awaitable[None]], ...] = (
    scale_a_set,
    restart_a_set,
    delete_a_budget,
    take_a_label,
    hold_a_set,
    empty_the_status,
    apply_the_crd_again,
)


async def test_what_people_do_by_hand_costs_a_running_job_no_pod(
    operator: RunningOperator, world: World, until: Any
) -> None:
    """One after the other on one job; after each the job is as before, and passes write nothing."""
    await operator.settle()
    before = await found(world)
    for hand in HANDS:
        await hand(world)

        async def mended() -> bool:
            quiet = await operator.quiet()
            return quiet and await found(world) == before

        await until(mended)
    sets = await world.client.get(STATEFUL_SET, world.namespace, TRAINER)
    kept = sets["spec"]["template"]["metadata"]["annotations"]
    assert RESTARTED in kept, "left alone: nothing restarts by it, and nobody fights over it"
    await world.patch(STATEFUL_SET, "j-user", {"metadata": {"finalizers": None}})


async def found(world: World) -> Any:
    """What must not change: pods, sizes, token, attempt, names of the children."""
    pods = {pod["metadata"]["uid"] for pod in await world.pods()}
    status = await world.status()
    shown = {name: status.get(name) for name in ("state", "trainerAttempt", "stage", "roles")}
    labelled = [
        one["metadata"]["name"]
        for kind in (SERVICE, DISRUPTION_BUDGET, SECRET)
        for one in await world.client.list(kind, world.namespace, "sea-operator.io/job=j")
    ]
    return pods, await world.sizes(), await world.token(), shown, sorted(labelled)


async def test_an_autoscaler_that_leaves_the_elastic_range_is_refused_with_a_sentence(
    world: World,
) -> None:
    """An HPA shows it as the reason of FailedUpdateScale."""
    await world.create_job(rollout={"elastic": {"minReplicas": 1, "maxReplicas": 2}})
    await world.patch(JOB, "j", {"spec": {"replicas": 2}}, "scale")
    with pytest.raises(RejectedError, match="must lie within elastic"):
        await world.patch(JOB, "j", {"spec": {"replicas": 3}}, "scale")
    assert (await world.job())["spec"]["rollout"]["replicas"] == 2
