"""The program of an earlier release and this one take turns over the same jobs, under this CRD.

`tests/releases/VERSION/program.zip` holds the release's own source, from where Python imports it.
The packages that it needs are today's.
"""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sea_devcluster.controlplane import ControlPlane
from sea_operator.kube.client import STATEFUL_SET
from sea_testing.operator_process import Operator
from sea_testing.operator_world import World, eventually

pytestmark = pytest.mark.cluster

GOLDEN = Path(__file__).parents[2] / "releases"
PROGRAMS = sorted(GOLDEN.glob("*/program.zip"))


@contextlib.asynccontextmanager
async def running(world: World, kubeconfig: Path, program: Path | None) -> AsyncIterator[Operator]:
    """An operator under the same identity as all others here, so that none waits for the lease."""
    first = f"import sys; sys.path.insert(0, {str(program)!r})" if program else ""
    operator = Operator(kubeconfig, world.namespace, "one", program=first)
    await operator.start()
    try:
        yield operator
        assert await operator.stop() == 0
    finally:
        await operator.stop(9)


async def pods_and_sets(world: World, job: str) -> tuple[set[str], dict[str, int]]:
    """Uids of the pods that stay, and the generations of the sets."""
    pods = {
        pod["metadata"]["uid"]
        for pod in await world.pods(job)
        if "deletionTimestamp" not in pod["metadata"]
    }
    sets = await world.client.list(STATEFUL_SET, world.namespace, f"sea-operator.io/job={job}")
    return pods, {one["metadata"]["name"]: one["metadata"]["generation"] for one in sets}


async def begin(world: World, job: str) -> None:
    """A job that an operator makes and sees running."""
    await world.create_job(job)

    async def made() -> bool:
        return len(await world.sizes(job)) == 4

    await eventually(made)
    await world.run_pods(job)

    async def runs() -> bool:
        return (await world.condition("Ready", job))["reason"] == "Running"

    await eventually(runs)


async def reported(world: World, job: str, step: int) -> dict[str, Any]:
    """The status that shows a step which the coordinator has just made, of a job that runs.

    A program that takes over first sends the coordinator a spec of its own release.
    """
    world.coordinators[job].complete("sft", running="rl", step=step)

    async def shown() -> dict[str, Any] | None:
        status, ready = await world.status(job), await world.condition("Ready", job)
        shows = status.get("progress") == f"{step}/40" and ready["reason"] == "Running"
        return status if shows else None

    status: dict[str, Any] = await eventually(shown)
    return status


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.parent.name)
async def test_programs_of_two_releases_take_turns_and_no_job_notices(
    program: Path, world: World, control_plane: ControlPlane
) -> None:
    await world.create_secret()
    async with running(world, control_plane.kubeconfig, None):
        await begin(world, "j")
        known = {"j": await pods_and_sets(world, "j")}
    async with running(world, control_plane.kubeconfig, program):
        await reported(world, "j", 20)
        await begin(world, "k")
        known["k"] = await pods_and_sets(world, "k")
    for step, which in ((21, None), (22, program)):
        async with running(world, control_plane.kubeconfig, which):
            for job in known:
                status = await reported(world, job, step)
                assert status["trainerAttempt"] == 1
    for job, before in known.items():
        assert await pods_and_sets(world, job) == before
