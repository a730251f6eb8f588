"""Passes that can't go on: the sentence in the status, and how they heal."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sea_operator.decide import SOON_SECONDS
from sea_operator.errors import RejectedError
from sea_operator.kube.client import SECRET, STATEFUL_SET, Kind
from sea_testing.operator_world import World, settle

pytestmark = pytest.mark.cluster


async def test_a_missing_secret_stalls_with_a_sentence_and_heals_by_itself(
    world: World, reconcile: Callable[..., Awaitable[float | None]]
) -> None:
    await world.create_job()
    await reconcile(world)
    stalled = await world.condition("Stalled")
    assert stalled["status"] == "True"
    assert stalled["message"] == (
        f"Secret {world.namespace}/s3 that spec.storage.credentialsSecret names doesn't exist; "
        "create it with keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or change the field."
    )
    assert await world.sizes() == {}
    await world.create_secret()
    await reconcile(world)
    assert (await world.condition("Stalled"))["status"] == "False"
    assert len(await world.sizes()) == 4


async def test_a_stranger_on_our_name_is_named_and_never_touched(
    world: World, reconcile: Callable[..., Awaitable[float | None]], make: Any
) -> None:
    await world.create_secret()
    labels = {"app": "stranger"}
    stranger = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "j-trainer", "namespace": world.namespace},
        "spec": {
            "replicas": 0,
            "serviceName": "x",
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    }
    before = await world.client.create(STATEFUL_SET, world.namespace, stranger)
    await world.create_job()
    await reconcile(world)
    stalled = await world.condition("Stalled")
    assert stalled["reason"] == "NameTaken"
    assert f"StatefulSet {world.namespace}/j-trainer" in stalled["message"]
    after = await world.client.get(STATEFUL_SET, world.namespace, "j-trainer")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert "ownerReferences" not in after["metadata"]


async def test_a_problem_of_the_data_stalls_until_the_coordinator_takes_it_back(
    world: World, reconcile: Callable[..., Awaitable[float | None]]
) -> None:
    from sea_api.wire.state import Problem

    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    coordinator = world.coordinators["j"]
    sentence = "s3://bucket/sft.jsonl doesn't exist; change spec.data.sft."
    coordinator.change(problem=Problem(reason="DataNotFound", message=sentence))
    await reconcile(world)
    stalled = await world.condition("Stalled")
    assert (stalled["reason"], stalled["message"]) == ("DataNotFound", sentence)
    pods = {pod["metadata"]["uid"] for pod in await world.pods()}
    await world.edit(data={"sft": ["s3://bucket/there.jsonl"]})
    await reconcile(world)
    assert coordinator.specs[-1].spec.data.sft == ["s3://bucket/there.jsonl"]
    coordinator.change(problem=None)
    await reconcile(world)
    assert (await world.condition("Stalled"))["status"] == "False"
    assert {pod["metadata"]["uid"] for pod in await world.pods()} == pods


async def test_a_token_that_the_namespace_has_no_room_for_stalls_with_the_servers_words(
    world: World, reconcile: Callable[..., Awaitable[float | None]], until: Any
) -> None:
    await world.create_secret()
    quota = Kind("v1", "ResourceQuota", "resourcequotas")
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}}
    full = {**body, "spec": {"hard": {"secrets": "1"}}}
    await world.client.create(quota, world.namespace, full)

    async def enforced() -> Any:
        """The quota's admission has heard of it and of what is used: a moment after both."""
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "probe"}}
        path, content = SECRET.path(world.namespace), "application/json"
        try:
            await world.client.request("POST", path, [("dryRun", "All")], secret, content)
        except RejectedError as error:
            return "exceeded quota: full" in str(error)
        return False

    await until(enforced)
    await world.create_job()
    assert await reconcile(world) == SOON_SECONDS
    stalled = await world.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "ChildRejected")
    assert f"Secret {world.namespace}/j-auth" in stalled["message"]
    assert "exceeded quota: full" in stalled["message"]
    assert await world.sizes() == {}
    uid = (await world.client.get(quota, world.namespace, "full"))["metadata"]["uid"]
    await world.client.delete(quota, world.namespace, "full", uid)

    async def made() -> Any:
        await reconcile(world)
        return len(await world.sizes()) == 4

    await until(made)
    assert (await world.condition("Stalled"))["status"] == "False"
