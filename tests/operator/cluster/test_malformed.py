"""Each mistake of `malformed_jobs.yaml` as a job on the API server: refused, or Stalled in time."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sea_api.wire.state import Problem
from sea_operator import parsing
from sea_operator.errors import KubeError
from sea_operator.kube.client import JOB, Kind, KubeClient
from sea_operator.spec_warnings import spec_warning
from sea_testing.operator_world import World

pytestmark = pytest.mark.cluster

CASES: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "malformed_jobs.yaml").read_text())
QUOTA = Kind("v1", "ResourceQuota", "resourcequotas")
WITH_GPUS = ("mydesk-trainer", "mydesk-rollout")

Pass = Callable[..., Awaitable[float | None]]


def edited(case: dict[str, Any]) -> str:
    """The text of the job with the mistake in it."""
    text: str = CASES["job"]
    if "replace" not in case:
        return text
    assert text.count(case["replace"]) == 1
    return text.replace(case["replace"], case["by"])


def named(cases: str) -> Any:
    return pytest.mark.parametrize("case", CASES[cases], ids=lambda case: case["name"])


async def post(client: KubeClient, text: str, *, dry: bool = True) -> dict[str, Any]:
    """Sends the text as `kubectl apply` would, which asks for strict validation."""
    # Where the text says, or no reader could tell: the server reads it, not we.
    words = dict(line.strip().partition(": ")[::2] for line in text.splitlines()[:6])
    path = JOB.path(words["namespace"]).replace("v1alpha1", words["apiVersion"].split("/")[1])
    query = [("fieldValidation", "Strict"), *([("dryRun", "All")] if dry else [])]
    return await client.request("POST", path, query, text.encode(), "application/yaml")


@named("refused")
async def test_a_mistake_that_admission_can_see_is_refused_with_a_sentence(
    case: dict[str, Any], client: KubeClient
) -> None:
    with pytest.raises(KubeError) as caught:
        await post(client, edited(case))
    assert case["says"] in str(caught.value)


@named("accepted")
async def test_what_works_is_accepted_and_a_slip_is_warned_of(
    case: dict[str, Any], client: KubeClient
) -> None:
    live = await post(client, edited(case))
    live["metadata"]["resourceVersion"] = "1"  # a dry run stores nothing
    warning = spec_warning(parsing.job(live))
    assert (warning is not None) == ("warns" in case)
    assert case.get("warns", "") in (warning.message if warning else "")


async def surroundings(world: World, case: dict[str, Any]) -> None:
    """What a namespace has that a job of this kind is made for."""
    if case["name"] != "runtime-secret-missing":
        await world.create_secret("openai", "OPENAI_API_KEY")
    for name in ("s3-credentials", "wrong-keys"):
        await world.create_secret(name)
    if case["name"] == "runtime-quota":
        meta = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}}
        spec = {"spec": {"hard": {"pods": "0"}}}
        await world.client.create(QUOTA, world.namespace, {**meta, **spec})


@named("stalled")
async def test_any_other_mistake_stalls_the_job_before_a_pod_with_gpus_exists(
    case: dict[str, Any], world: World, reconcile: Pass, until: Any
) -> None:
    await surroundings(world, case)
    text = edited(case).replace("namespace: default", f"namespace: {world.namespace}")
    await post(world.client, text, dry=False)
    fixed_nodes = case["reason"] == "NoSuchNodes"
    await reconcile(world, "mydesk", fixed_nodes=fixed_nodes)
    if case["found"] == "coordinator":
        await world.run_pods("mydesk", count=1)
        problem = Problem(reason=case["reason"], message="What the coordinator says.")
        world.coordinators["mydesk"].change(prepared=False, problem=problem)

    async def stalled() -> bool:
        await reconcile(world, "mydesk", fixed_nodes=fixed_nodes)
        return (await world.condition("Stalled", "mydesk"))["status"] == "True"

    await until(stalled)
    assert (await world.condition("Stalled", "mydesk"))["reason"] == case["reason"]
    sizes = await world.sizes("mydesk")
    assert [sizes.get(name, 0) for name in WITH_GPUS] == [0, 0]
