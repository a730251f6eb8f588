"""The real API server with its controllers, no nodes; tests play the rest in a `World`."""

import asyncio
import contextlib
import copy
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sea_devcluster.subnets import claim, release
from sea_operator.cache import Cache
from sea_operator.coordinator_link import CoordinatorLink
from sea_operator.errors import KubeError
from sea_operator.kube.client import Kind, KubeClient
from sea_operator.kube.connection import Connection
from sea_operator.node_reader import NodeReader
from sea_operator.observe import Sources
from sea_operator.reconcile import Reconciler
from sea_operator.refusal_reader import RefusalReader
from sea_operator.secret_reader import SecretReader
from sea_operator.settings import Images, Intervals, Settings
from sea_testing.operator_client import CrashError, Recorder
from sea_testing.operator_world import (
    TIMEOUT,
    Clock,
    RunningOperator,
    World,
    eventually,
    reflectors,
)

NAMESPACE = Kind("v1", "Namespace", "namespaces")


@pytest.fixture(scope="session")
def octet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The second number of addresses that no other test run on this machine has."""
    owner = tmp_path_factory.mktemp("subnet")
    yield claim(owner).second
    release(owner)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that this process runs itself meets no time-out on a busy machine."""
    monkeypatch.setattr("sea_operator.kube.client.TIMEOUT_SECONDS", TIMEOUT)
    monkeypatch.setattr("sea_operator.coordinator_link.TIMEOUT_SECONDS", TIMEOUT)


@pytest.fixture
async def client(
    kubeconfig: Path, crd: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KubeClient]:
    """The administrator's client."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    client = KubeClient(await Connection.open())
    yield client
    await client.close()


@pytest.fixture
async def recorder(client: KubeClient) -> AsyncIterator[Recorder]:
    """The operator's client: counts writes, crashes on demand."""
    recorder = Recorder(await Connection.open())
    yield recorder
    await recorder.close()


@contextlib.asynccontextmanager
async def fresh_world(client: KubeClient, make: Any, octet: int) -> AsyncIterator[World]:
    name = f"t-{uuid.uuid4().hex[:8]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await client.request("POST", NAMESPACE.path(None), [], body, "application/json")
    world = World(client, name, make, octet)
    yield world
    for coordinator in world.coordinators.values():
        await coordinator.stop()
    with contextlib.suppress(KubeError):
        await client.request("DELETE", NAMESPACE.path(None, name))


@pytest.fixture
async def world(client: KubeClient, make: Any, octet: int) -> AsyncIterator[World]:
    """A namespace of its own; everything in it goes at the end."""
    async with fresh_world(client, make, octet) as made:
        yield made


@pytest.fixture
async def second_world(client: KubeClient, make: Any, octet: int) -> AsyncIterator[World]:
    """Another namespace."""
    async with fresh_world(client, make, octet) as made:
        yield made


@pytest.fixture
async def reconcile(
    recorder: Recorder, clock: Clock
) -> AsyncIterator[Callable[..., Awaitable[float | None]]]:
    """`reconcile(world, "j")`: one pass of an operator that started this very moment.

    `images`: its defaults, if they are other than usual. `fixed_nodes`: as its setting.
    """
    async with aiohttp.ClientSession() as session:
        link = CoordinatorLink(session)

        async def one_pass(
            world: World,
            name: str = "j",
            images: Images | None = None,
            fixed_nodes: bool = False,
        ) -> float | None:
            settings = Settings(images or Images(), identity="test", intervals=Intervals())
            cache = Cache(lambda key: None)
            for reflector in reflectors(world.client, world.namespace, cache):
                await reflector.fill()
            secrets = SecretReader(recorder, time.monotonic)
            # At once: each pass here is the first of its operator.
            refusals = RefusalReader(recorder, time.monotonic, after=0.0)
            nodes = NodeReader(recorder, time.monotonic, fixed=fixed_nodes)
            sources = Sources(recorder, cache, secrets, link, refusals, nodes)
            return await Reconciler(sources, settings, clock)((world.namespace, name))

        yield one_pass


@pytest.fixture
async def operator(
    recorder: Recorder, world: World, clock: Clock
) -> AsyncIterator[RunningOperator]:
    """An operator whose watches run; a test calls its passes."""
    async with aiohttp.ClientSession() as session:
        running = RunningOperator(recorder, CoordinatorLink(session), world, clock)
        tasks = [asyncio.create_task(one.run()) for one in running.reflectors]
        for one in running.reflectors:
            await one.synced.wait()
        yield running
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def until() -> Any:
    """`await until(check)`."""
    return eventually


@pytest.fixture
def crash() -> type[Exception]:
    return CrashError


@pytest.fixture
def snapshot() -> Any:
    """What a world looks like, without what time and the server put into it."""

    def strip(live: dict[str, Any]) -> dict[str, Any]:
        body = copy.deepcopy(live)
        for noise in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"):
            body["metadata"].pop(noise, None)
        return body

    return strip
