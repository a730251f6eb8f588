"""The real API server with its controllers, no nodes: this module plays kubelet and coordinator.

The kubelet's part is to say that pods run; the coordinator's part is an HTTP server on the pod's
own loopback address that speaks the wire models. Everything else is real.
"""

import asyncio
import contextlib
import copy
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient

from sea_api.v1alpha1.job import GROUP, KIND, VERSION
from sea_api.wire.desired import Desired
from sea_api.wire.state import CoordinatorState, StagePhase, StageState, TrainerFailure
from sea_devcluster.subnets import claim, release
from sea_operator.children.secret import token_of
from sea_operator.coordinator_link import CoordinatorLink
from sea_operator.kube.client import KubeClient
from sea_operator.kube.errors import KubeError, NotFoundError
from sea_operator.kube.kinds import JOB, POD, SECRET, STATEFUL_SET, Kind
from sea_operator.kube.login import configuration
from sea_operator.reconcile import Reconciler
from sea_operator.settings import Intervals, Settings

NUMBERS = itertools.count(2)
NAMESPACE = Kind("v1", "Namespace", "namespaces")
TIMEOUT = 180.0
"""Seconds that end a hang. The garbage collector looks for new kinds of owners every 30 s."""


async def eventually(check: Callable[[], Awaitable[Any]], within: float = TIMEOUT) -> Any:
    """The first true answer of `check`; fails after `within` seconds."""
    last: Any = None
    try:
        async with asyncio.timeout(within):
            while not (last := await check()):  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"not within {within} s; last answer: {last!r}")
    return last


class Recorder(KubeClient):
    """A client that counts its writes and can fail right after one of them."""

    def __init__(self, api: ApiClient) -> None:
        super().__init__(api)
        self.writes: list[str] = []
        self.crash_after: int | None = None

    def guarded_by(self, guard):
        return self

    async def _write(self, method, path, query, body, content="application/json"):
        answer = await super()._write(method, path, query, body, content)
        self.writes.append(f"{method} {path}")
        if self.crash_after is not None and len(self.writes) >= self.crash_after:
            raise CrashError(f"after {self.writes[-1]}")
        return answer


class CrashError(Exception):
    """The operator dies here."""


class FakeCoordinator:
    """Speaks the wire models; tests set `state` and read `wishes`."""

    def __init__(self) -> None:
        self.state = CoordinatorState()
        self.wishes: list[Desired] = []
        self.token: str | None = None
        self.address = ""
        self._runner: web.AppRunner | None = None

    async def start(self, address: str) -> None:
        app = web.Application()
        app.add_routes([web.get("/v1/state", self._get), web.put("/v1/desired", self._put)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.5)
        await self._runner.setup()
        self.address = address
        await web.TCPSite(self._runner, address, 8080).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def change(self, **fields: Any) -> None:
        self.state = self.state.model_copy(update=fields)

    def complete(self, *names: str, running: str | None = None, step: int = 0) -> None:
        done = [
            StageState(name=name, phase=StagePhase.COMPLETE, step=9, total_steps=9)
            for name in names
        ]
        run = StageState(name=running or "", phase=StagePhase.RUNNING, step=step, total_steps=40)
        self.change(stages=[*done, *([run] if running else [])])

    def fail(self, cause: str = "ProcessExit", time: float = 0.0, pod: str = "j-trainer-0") -> None:
        self.change(
            trainer_failure=TrainerFailure(
                generation=self.state.generation,
                pod=pod,
                cause=cause,
                message=f"[pair.cc:537] Read error {'x' * 1200} GLHF! \U0001f3d6\ufe0f",
                time=time,
            )
        )

    async def _get(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.Response(text=self.state.model_dump_json(by_alias=True))

    async def _put(self, request: web.Request) -> web.Response:
        self._check(request)
        wish = Desired.model_validate_json(await request.text())
        self.wishes.append(wish)
        failure = self.state.trainer_failure
        fresh = failure is not None and failure.generation < wish.generation
        self.change(
            desired_digest=wish.digest,
            uid=wish.uid,
            generation=wish.generation,
            trainer_failure=None if fresh else failure,
        )
        return web.Response(status=204)

    def _check(self, request: web.Request) -> None:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            raise web.HTTPUnauthorized


class World:
    """A fresh namespace on the real API server, and the parts that have no program here."""

    def __init__(self, client: KubeClient, namespace: str, make: Any, octet: int) -> None:
        self.client = client
        self.namespace = namespace
        self.make = make
        self.octet = octet
        self.coordinators: dict[str, FakeCoordinator] = {}

    async def create_job(self, name: str = "j", **patch: Any) -> dict[str, Any]:
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": {"app.kubernetes.io/instance": "argo"},
                "annotations": {"argocd.argoproj.io/tracking-id": "x"},
            },
            "spec": self.make.raw_spec(patch),
        }
        return await self.client.create(JOB, self.namespace, body)

    async def edit(self, name: str = "j", **patch: Any) -> None:
        await self.patch(JOB, name, {"spec": patch})

    async def patch(
        self, kind: Kind, name: str, body: dict[str, Any], sub: str | None = None
    ) -> Any:
        path = kind.path(self.namespace, name, sub)
        content = "application/merge-patch+json"
        return await self.client._call("PATCH", path, [], body, content)

    async def create_secret(self, name: str = "s3", *keys: str) -> None:
        names = keys or ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        body = {"metadata": {"name": name}, "stringData": dict.fromkeys(names, "x")}
        await self.client.create(
            SECRET, self.namespace, {"apiVersion": "v1", "kind": "Secret", **body}
        )

    async def job(self, name: str = "j") -> dict[str, Any]:
        return await self.client.get(JOB, self.namespace, name)

    async def status(self, name: str = "j") -> dict[str, Any]:
        return (await self.job(name)).get("status", {})

    async def condition(self, kind: str, name: str = "j") -> dict[str, Any]:
        found = (await self.status(name)).get("conditions", [])
        return next((c for c in found if c["type"] == kind), {"status": "Absent", "reason": ""})

    async def sizes(self, job: str = "j") -> dict[str, int]:
        sets = await self.client.list(STATEFUL_SET, self.namespace, f"sea-operator.io/job={job}")
        return {found["metadata"]["name"]: found["spec"]["replicas"] for found in sets}

    async def pods(self, job: str = "j") -> list[dict[str, Any]]:
        return await self.client.list(POD, self.namespace, f"sea-operator.io/job={job}")

    async def token(self, job: str = "j") -> str | None:
        try:
            return token_of(await self.client.get(SECRET, self.namespace, f"{job}-auth"))
        except NotFoundError:
            return None

    async def run_pods(self, job: str = "j", count: int = 5) -> None:
        """Says that all pods run and are ready, and starts the coordinator behind its address."""
        await eventually(lambda: self._has_pods(job, count))
        for pod in await self.pods(job):
            await self._run(pod, job)

    async def judged(self, job: str = "j", count: int = 5) -> bool:
        """Whether the scheduler has said of each pod where it runs, or why not."""
        pods = await self.pods(job)
        told = [pod for pod in pods if pod.get("status", {}).get("conditions")]
        return len(told) == count

    async def _has_pods(self, job: str, count: int) -> bool:
        return (
            len([p for p in await self.pods(job) if "deletionTimestamp" not in p["metadata"]])
            == count
        )

    async def _run(self, pod: dict[str, Any], job: str) -> None:
        number = next(NUMBERS)
        address = f"127.{self.octet}.{number // 250}.{number % 250 + 1}"
        if pod["metadata"]["name"] == f"{job}-coordinator-0" and not pod["status"].get("podIP"):
            await self._start_coordinator(job, address)
        if pod["status"].get("podIP"):
            return
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        await self.patch(POD, pod["metadata"]["name"], {"status": status}, "status")

    async def _start_coordinator(self, job: str, address: str) -> None:
        coordinator = self.coordinators.setdefault(job, FakeCoordinator())
        await coordinator.stop()
        coordinator.token = await self.token(job)
        await coordinator.start(address)

    async def force_delete_pods(self, job: str = "j") -> None:
        """What a kubelet does at the end: without nodes, nobody else confirms a deletion."""
        for pod in await self.pods(job):
            if "deletionTimestamp" in pod["metadata"]:
                meta = pod["metadata"]
                with contextlib.suppress(NotFoundError):  # the server may have been faster
                    await self.client.delete(POD, self.namespace, meta["name"], meta["uid"], 0)


@pytest.fixture(scope="session")
def octet(tmp_path_factory) -> Iterator[int]:
    """The second number of addresses that no other test run on this machine has."""
    owner = tmp_path_factory.mktemp("subnet")
    yield claim(owner).second
    release(owner)


@pytest.fixture(autouse=True)
def patient(monkeypatch) -> None:
    """A pass that this process runs itself meets no time-out on a busy machine."""
    monkeypatch.setattr("sea_operator.kube.client.TIMEOUT_SECONDS", TIMEOUT)
    monkeypatch.setattr("sea_operator.coordinator_link.TIMEOUT_SECONDS", TIMEOUT)


@pytest.fixture
async def client(kubeconfig, crd, monkeypatch) -> AsyncIterator[KubeClient]:
    """The administrator's client."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    client = KubeClient(ApiClient(configuration=await configuration()))
    yield client
    await client.close()


@pytest.fixture
async def recorder(client) -> AsyncIterator[Recorder]:
    """The operator's client: counts writes, crashes on demand."""
    recorder = Recorder(ApiClient(configuration=await configuration()))
    yield recorder
    await recorder.close()


@pytest.fixture
async def world(client, make, octet) -> AsyncIterator[World]:
    """A namespace of its own; everything in it goes at the end."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await client._call("POST", NAMESPACE.path(None), [], body, "application/json")
    world = World(client, name, make, octet)
    yield world
    for coordinator in world.coordinators.values():
        await coordinator.stop()
    with contextlib.suppress(KubeError):
        await client._call("DELETE", NAMESPACE.path(None, name))


@pytest.fixture
async def reconcile(recorder, clock) -> AsyncIterator[Callable[..., Awaitable[float | None]]]:
    """`reconcile(world, "j")`: one pass, and nothing else."""
    settings = Settings(identity="test", intervals=Intervals())
    async with aiohttp.ClientSession() as session:
        link = CoordinatorLink(session)

        async def one_pass(world: World, name: str = "j") -> float | None:
            reconciler = Reconciler(recorder, link, settings, clock)
            return await reconciler((world.namespace, name))

        yield one_pass


class Clock:
    """Unix seconds that a test may push forward, and hold where a second more would matter."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._held: float | None = None

    def hold(self) -> None:
        """From now on only `ahead` moves it."""
        self._held = time.time()

    def __call__(self) -> float:
        return (time.time() if self._held is None else self._held) + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def until():
    """`await until(check)`."""
    return eventually


@pytest.fixture
def crash() -> type[Exception]:
    return CrashError


@pytest.fixture
def snapshot():
    """What a world looks like, without what time and the server put into it."""

    def strip(live: dict[str, Any]) -> dict[str, Any]:
        body = copy.deepcopy(live)
        for noise in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"):
            body["metadata"].pop(noise, None)
        return body

    return strip
