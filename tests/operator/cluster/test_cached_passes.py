"""A running operator's cache on the real API server: what it knows, and what a pass needn't ask."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sea_operator.cache import Cache, View
from sea_operator.coordinator_link import CoordinatorLink
from sea_operator.kube.client import JOB, POD, SECRET, STATEFUL_SET
from sea_operator.observe import Sources
from sea_operator.reconcile import Reconciler
from sea_operator.refusal_reader import RefusalReader
from sea_operator.resources.build import token_digest
from sea_operator.secret_reader import MAX_AGE_SECONDS, SecretReader
from sea_operator.settings import Settings
from sea_testing.operator_client import Recorder
from sea_testing.operator_world import World, reflectors

pytestmark = pytest.mark.cluster


class Running:
    """An operator without queue and kopf: its cache is watched, its passes are called."""

    def __init__(self, recorder: Recorder, link: CoordinatorLink, world: World, clock: Any) -> None:
        self.key = (world.namespace, "j")
        self.ahead = 0.0
        self.cache = Cache(lambda key: None)
        self.reflectors = reflectors(world.client, world.namespace, self.cache)
        monotonic = lambda: time.monotonic() + self.ahead  # noqa: E731
        secrets, refusals = SecretReader(recorder, monotonic), RefusalReader(recorder, monotonic)
        sources = Sources(recorder, self.cache, secrets, link, refusals)
        self.reconcile = Reconciler(sources, Settings(identity="test"), clock)

    async def a_pass(self) -> float | None:
        return await self.reconcile(self.key)

    def view(self) -> View | None:
        return self.cache.view(self.key)

    async def ready(self) -> bool:
        """Whether the cache has heard that all pods are ready."""
        view = self.view()
        return view is not None and len(view.pods) == 5 and all(pod.ready for pod in view.pods)


@pytest.fixture
async def operator(recorder: Recorder, world: World, clock: Any) -> AsyncIterator[Running]:
    async with aiohttp.ClientSession() as session:
        running = Running(recorder, CoordinatorLink(session), world, clock)
        tasks = [asyncio.create_task(one.run()) for one in running.reflectors]
        for one in running.reflectors:
            await one.synced.wait()
        yield running
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def settle(operator: Running, world: World, until: Any, recorder: Recorder) -> None:
    """Up to where a pass finds nothing to do."""
    await world.create_secret()
    await world.create_job()

    async def known() -> bool:
        return operator.view() is not None

    await until(known)
    await operator.a_pass()
    await world.run_pods()
    await until(operator.ready)

    async def quiet() -> bool:
        recorder.writes.clear()
        await operator.a_pass()
        return not recorder.writes

    await until(quiet)


async def test_a_pass_of_an_unchanged_job_asks_the_api_server_nothing(
    operator: Running, world: World, until: Any, recorder: Recorder
) -> None:
    await settle(operator, world, until, recorder)
    recorder.requests.clear()
    for _ in range(3):
        await operator.a_pass()
    assert recorder.requests == []
    assert (await world.condition("Ready"))["status"] == "True"


async def test_a_changed_state_of_the_coordinator_costs_one_write(
    operator: Running, world: World, until: Any, recorder: Recorder
) -> None:
    await settle(operator, world, until, recorder)
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
        operator = Running(recorder, CoordinatorLink(session), world, clock)
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
        stale = Running(recorder, CoordinatorLink(session), world, time.time)
        await world.create_secret()
        job = await world.create_job()
        for one in stale.reflectors:
            await one.fill()
        meta = job["metadata"]
        await world.client.delete(JOB, world.namespace, "j", meta["uid"])
        recorder.writes.clear()
        assert await stale.a_pass() is None
        assert recorder.writes == []
        assert stale.view() is None


async def test_the_watches_tell_of_what_others_delete(
    operator: Running, world: World, until: Any, recorder: Recorder
) -> None:
    await settle(operator, world, until, recorder)
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
    operator: Running, world: World, until: Any, recorder: Recorder
) -> None:
    container = {"name": "c", "image": "i"}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stranger"},
        "spec": {"containers": [container]},
    }
    await world.client.create(POD, world.namespace, body)
    await settle(operator, world, until, recorder)
    assert {kind for kind, _, name in operator.cache._homes if name == "stranger"} == set()
    assert len(operator.cache._homes) == 1 + 8 + 5


async def test_a_deleted_token_is_noticed_within_its_age(
    operator: Running, world: World, until: Any, recorder: Recorder
) -> None:
    await settle(operator, world, until, recorder)
    old = await world.token()
    secret = await world.client.get(SECRET, world.namespace, "j-auth")
    await world.client.delete(SECRET, world.namespace, "j-auth", secret["metadata"]["uid"])
    await operator.a_pass()
    assert await world.token() is None, "a Secret is trusted for a while"
    operator.ahead = MAX_AGE_SECONDS
    await operator.a_pass()
    assert await world.token() not in (None, old)


async def test_a_rotated_token_is_noticed_when_the_coordinator_refuses_the_old_one(
    operator: Running, world: World, until: Any, recorder: Recorder
) -> None:
    await settle(operator, world, until, recorder)
    body = {"stringData": {"token": "rotated"}}
    await world.patch(SECRET, "j-auth", body)
    world.coordinators["j"].token = "rotated"
    await operator.a_pass()  # is refused
    await operator.a_pass()  # reads the Secret again
    live = await world.client.get(STATEFUL_SET, world.namespace, "j-trainer")
    digest = live["spec"]["template"]["metadata"]["annotations"]["sea-operator.io/token-digest"]
    assert digest == token_digest("rotated"), "the pods are replaced by such that know the new one"
