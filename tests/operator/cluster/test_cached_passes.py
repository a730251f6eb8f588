"""A running operator's cache on the real API server: what it knows, and what a pass needn't ask."""

import time
from typing import Any

import aiohttp
import pytest

from sea_operator.coordinator_link import CoordinatorLink
from sea_operator.kube.client import JOB, POD, SECRET, STATEFUL_SET
from sea_operator.resources.build import token_digest
from sea_operator.secret_reader import MAX_AGE_SECONDS
from sea_testing.operator_client import Recorder
from sea_testing.operator_world import RunningOperator, World

pytestmark = pytest.mark.cluster


async def test_a_pass_of_an_unchanged_job_asks_the_api_server_nothing(
    operator: RunningOperator, world: World, until: Any, recorder: Recorder
) -> None:
    await operator.settle(until)
    recorder.requests.clear()
    for _ in range(3):
        await operator.a_pass()
    assert recorder.requests == []
    assert (await world.condition("Ready"))["status"] == "True"


async def test_a_changed_state_of_the_coordinator_costs_one_write(
    operator: RunningOperator, world: World, until: Any, recorder: Recorder
) -> None:
    await operator.settle(until)
    world.coordinators["j"].change(reward=0.25)
    recorder.requests.clear()
    await operator.a_pass()
    assert [one.split("/")[-1] for one in recorder.requests] == ["status"]
    await operator.a_pass()
    assert len(recorder.requests) == 1


async def test_children_that_a_pass_made_are_known_to_the_next_without_any_event(
    recorder: Recorder, world: World, clock: Any
) -> None:
    async with aiohttp.ClientSession() as session:
        operator = RunningOperator(recorder, CoordinatorLink(session), world, clock)
        await world.create_secret()
        await world.create_job()
        for one in operator.reflectors:
            await one.fill()  # and no watch: nothing but our own writes comes in from here on
        await operator.a_pass()
        recorder.requests.clear()
        await operator.a_pass()
        assert [one for one in recorder.requests if "/services/" in one] == []
        assert [one for one in recorder.requests if "/statefulsets/" in one] == []
        assert [one for one in recorder.requests if "/secrets" in one] == []


async def test_a_job_that_was_deleted_unseen_gets_no_children(
    recorder: Recorder, world: World
) -> None:
    """As in a watch that was interrupted for longer than the server remembers."""
    async with aiohttp.ClientSession() as session:
        stale = RunningOperator(recorder, CoordinatorLink(session), world, time.time)
        await world.create_job()
        for one in stale.reflectors:
            await one.fill()
        await stale.a_pass()  # says that a Secret is missing
        await world.create_secret()
        job = await world.job()
        await world.client.delete(JOB, world.namespace, "j", job["metadata"]["uid"])
        recorder.writes.clear()
        assert await stale.a_pass() is None
        assert recorder.writes == []
        assert stale.view() is None


async def test_children_of_a_new_job_that_was_deleted_unseen_are_collected(
    recorder: Recorder, world: World, until: Any
) -> None:
    """A new job isn't read before they are made: they go as those of any job that is deleted."""
    async with aiohttp.ClientSession() as session:
        stale = RunningOperator(recorder, CoordinatorLink(session), world, time.time)
        await world.create_secret()
        job = await world.create_job()
        for one in stale.reflectors:
            await one.fill()
        await world.client.delete(JOB, world.namespace, "j", job["metadata"]["uid"])
        assert await stale.a_pass() is None
        assert stale.view() is None

    async def collected() -> bool:
        return not await world.sizes() and await world.token() is None

    await until(collected)


async def test_the_watches_tell_of_what_others_delete(
    operator: RunningOperator, world: World, until: Any, recorder: Recorder
) -> None:
    await operator.settle(until)
    live = await world.client.get(STATEFUL_SET, world.namespace, "j-rollout")
    await world.client.delete(STATEFUL_SET, world.namespace, "j-rollout", live["metadata"]["uid"])

    async def missed() -> bool:
        view = operator.view()
        return view is not None and ("StatefulSet", "j-rollout") not in view.children

    await until(missed)
    await operator.a_pass()
    again = await world.client.get(STATEFUL_SET, world.namespace, "j-rollout")
    assert again["metadata"]["uid"] != live["metadata"]["uid"]


async def test_pods_without_our_label_never_reach_the_cache(
    operator: RunningOperator, world: World, until: Any, recorder: Recorder
) -> None:
    container = {"name": "c", "image": "i"}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stranger"},
        "spec": {"containers": [container]},
    }
    await world.client.create(POD, world.namespace, body)
    await operator.settle(until)
    assert {kind for kind, _, name in operator.cache._homes if name == "stranger"} == set()
    # The job, its Services, StatefulSets and disruption budget, its pods.
    assert len(operator.cache._homes) == 1 + 9 + 5


async def test_a_deleted_token_is_noticed_within_its_age(
    operator: RunningOperator, world: World, until: Any, recorder: Recorder
) -> None:
    await operator.settle(until)
    old = await world.token()
    secret = await world.client.get(SECRET, world.namespace, "j-auth")
    await world.client.delete(SECRET, world.namespace, "j-auth", secret["metadata"]["uid"])
    await operator.a_pass()
    assert await world.token() is None, "a Secret is trusted for a while"
    operator.ahead = MAX_AGE_SECONDS
    await operator.a_pass()
    assert await world.token() not in (None, old)


async def test_a_rotated_token_is_noticed_when_the_coordinator_refuses_the_old_one(
    operator: RunningOperator, world: World, until: Any, recorder: Recorder
) -> None:
    await operator.settle(until)
    body = {"stringData": {"token": "rotated"}}
    await world.patch(SECRET, "j-auth", body)
    world.coordinators["j"].token = "rotated"
    await operator.a_pass()  # is refused
    await operator.a_pass()  # reads the Secret again
    live = await world.client.get(STATEFUL_SET, world.namespace, "j-trainer")
    digest = live["spec"]["template"]["metadata"]["annotations"]["sea-operator.io/token-digest"]
    assert digest == token_digest("rotated"), "the pods are replaced by such that know the new one"
