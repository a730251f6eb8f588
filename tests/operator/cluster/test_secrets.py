"""Secrets that are wrong, corrected or rotated, and credentials in what others report."""

import base64
import json
from collections.abc import Awaitable, Callable

import pytest

from sea_api.wire.state import Problem
from sea_operator.kube.client import EVENT, SECRET
from sea_testing.operator_world import World, settle

pytestmark = pytest.mark.cluster

Reconcile = Callable[..., Awaitable[float | None]]


async def write(world: World, **values: bytes) -> None:
    data = {key: base64.b64encode(value).decode() for key, value in values.items()}
    await world.patch(SECRET, "s3", {"data": data})


async def uids(world: World) -> set[str]:
    """Of the pods that nobody deletes."""
    meta = [pod["metadata"] for pod in await world.pods()]
    return {one["uid"] for one in meta if "deletionTimestamp" not in one}


async def test_a_key_with_a_line_break_stalls_at_once_and_heals_by_itself(
    world: World, reconcile: Reconcile
) -> None:
    await world.create_secret()
    await write(world, AWS_SECRET_ACCESS_KEY=b"wJalrXUtnFEMI\n")
    await world.create_job()
    await reconcile(world)
    stalled = await world.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "SecretUnusable")
    assert stalled["message"] == (
        f"Key AWS_SECRET_ACCESS_KEY of Secret {world.namespace}/s3 that "
        "spec.storage.credentialsSecret names ends with a line break, as `echo` adds it "
        "(`printf %s` doesn't); correct it in the Secret."
    )
    assert await world.sizes() == {}
    await write(world, AWS_SECRET_ACCESS_KEY=b"wJalrXUtnFEMI")
    await reconcile(world)
    assert (await world.condition("Stalled"))["status"] == "False"
    assert len(await world.sizes()) == 4


async def test_a_rotated_secret_restarts_nothing_and_is_taken_by_the_next_attempt(
    world: World, reconcile: Reconcile
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    before = await uids(world)
    await write(world, AWS_SECRET_ACCESS_KEY=b"rotated")
    for _ in range(3):
        await reconcile(world)
    ready = await world.condition("Ready")
    assert ready["status"] == "True"
    assert f"hold older values than {world.namespace}/s3" in ready["message"]
    assert await uids(world) == before
    world.coordinators["j"].fail()
    await reconcile(world)
    assert await uids(world) & before == set()
    assert (await world.status())["trainerAttempt"] == 2
    await world.force_delete_pods()
    await world.run_pods()
    await reconcile(world)
    assert "older values" not in (await world.condition("Ready"))["message"]
    assert (await world.status())["trainerAttempt"] == 2


async def test_a_corrected_secret_is_taken_at_once_by_a_job_that_cannot_go_on(
    world: World, reconcile: Reconcile
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    before = await uids(world)
    sentence = "The server doesn't accept the keys (InvalidAccessKeyId)."
    world.coordinators["j"].change(problem=Problem(reason="StoreFails", message=sentence))
    await reconcile(world)
    assert (await world.condition("Stalled"))["reason"] == "StoreFails"
    assert await uids(world) == before, "nothing was corrected yet"
    await write(world, AWS_ACCESS_KEY_ID=b"corrected")
    await reconcile(world)
    assert await uids(world) & before == set()
    assert (await world.status())["trainerAttempt"] == 2
    await world.force_delete_pods()
    world.coordinators["j"].change(problem=None)
    await world.run_pods()
    await reconcile(world)
    await reconcile(world)
    assert (await world.condition("Stalled"))["status"] == "False"
    assert world.coordinators["j"].specs[-1].attempt == 2


async def test_a_secret_that_goes_missing_holds_only_the_pods_that_need_it(
    world: World, reconcile: Reconcile
) -> None:
    """Stages are walked, the coordinator is told, and in the end the GPUs are given back."""
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    before = await uids(world)
    secret = await world.client.get(SECRET, world.namespace, "s3")
    await world.client.delete(SECRET, world.namespace, "s3", secret["metadata"]["uid"])
    coordinator = world.coordinators["j"]
    coordinator.complete("sft", running="rl", step=3)
    await world.edit(rollout={"replicas": 2, "template": {"env": [{"name": "X", "value": "1"}]}})
    for _ in range(2):
        await reconcile(world)
    stalled = await world.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "SecretNotFound")
    meanwhile = "The job goes on with the pods that it has; none of coordinator, trainer, rollout, "
    assert meanwhile in (await world.condition("Ready"))["message"]
    assert coordinator.specs[-1].stage_index == 1
    assert (await world.status())["progress"] == "3/40"
    assert (await world.sizes())["j-rollout"] == 1
    assert await uids(world) == before
    await world.create_secret()
    for _ in range(2):
        await reconcile(world)
    assert (await world.sizes())["j-rollout"] == 2
    assert await uids(world) != before, "the edit takes effect now"
    again = await world.client.get(SECRET, world.namespace, "s3")
    await world.client.delete(SECRET, world.namespace, "s3", again["metadata"]["uid"])
    coordinator.complete("sft", "rl", "eval")
    for _ in range(2):
        await reconcile(world)
    assert (await world.condition("Complete"))["status"] == "True"
    assert set((await world.sizes()).values()) == {0}


async def test_a_signed_header_in_a_report_is_in_no_status_and_no_event(
    world: World, reconcile: Reconcile
) -> None:
    await world.create_secret()
    await world.create_job()
    await settle(world, reconcile)
    header = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/x, Signature=0123abcd0123abcd"
    message = f"Invalid header value b'{header}'. Correct the keys."
    world.coordinators["j"].change(problem=Problem(reason="StoreFails", message=message))
    await reconcile(world)
    stalled = await world.condition("Stalled")
    assert stalled["message"] == "Invalid header value b'[redacted]'. Correct the keys."
    events = await world.client.list(EVENT, world.namespace, "")
    assert "StoreFails" in {event["reason"] for event in events}
    for shown in (json.dumps(events), json.dumps(await world.job())):
        assert "AKIAIOSFODNN7EXAMPLE" not in shown
        assert "0123abcd0123abcd" not in shown
