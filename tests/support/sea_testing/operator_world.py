"""A namespace on the real API server without nodes: tests of the operator play the kubelet in it.

Its part is to say that pods run; the coordinator's part is an HTTP server on the pod's own loopback
address (`operator_coordinator.py`). Everything else is real.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sea_api.contract import JOB_LABEL
from sea_api.v1alpha1.job import GROUP, KIND, VERSION
from sea_operator.cache import Cache, View
from sea_operator.coordinator_link import CoordinatorLink
from sea_operator.errors import ConflictError, NotFoundError
from sea_operator.kube.client import (
    DISRUPTION_BUDGET,
    JOB,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    KubeClient,
)
from sea_operator.kube.reflector import Reflector
from sea_operator.node_reader import NodeReader
from sea_operator.observe import Sources
from sea_operator.reconcile import Reconciler
from sea_operator.refusal_reader import RefusalReader
from sea_operator.resources.build import token_of
from sea_operator.secret_reader import SecretReader
from sea_operator.settings import Settings
from sea_testing.operator_client import Recorder
from sea_testing.operator_coordinator import FakeCoordinator

NUMBERS = itertools.count(2)
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


def reflectors(client: KubeClient, namespace: str, cache: Cache) -> list[Reflector]:
    """What feeds an operator's cache; the job comes through kopf there."""
    children = (STATEFUL_SET, SERVICE, DISRUPTION_BUDGET, POD)
    kinds = ((JOB, ""), *((kind, JOB_LABEL) for kind in children))
    return [
        Reflector(client, kind, namespace, selector, cache, lambda: 0.5) for kind, selector in kinds
    ]


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
        return await self.client.request("PATCH", path, [], body, content)

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

    async def generation(self, name: str = "j") -> int:
        return int((await self.job(name))["metadata"]["generation"])

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


async def settle(world: Any, reconcile: Any, name: str = "j") -> None:
    """The first passes of a job up to where it runs and its coordinator knows what to do."""
    await reconcile(world, name)
    await world.run_pods(name)
    await reconcile(world, name)
    await reconcile(world, name)
    await reconcile(world, name)


class RunningOperator:
    """An operator without queue and kopf: its cache is watched, its passes are called."""

    def __init__(
        self,
        recorder: Recorder,
        link: CoordinatorLink,
        world: World,
        clock: Any,
        settings: Settings | None = None,
    ) -> None:
        self.key = (world.namespace, "j")
        self.world, self.recorder = world, recorder
        self.ahead = 0.0
        """Seconds by which its monotonic clock runs ahead."""
        self._stopped: float | None = None
        self.cache = Cache(lambda key: None)
        self.reflectors = reflectors(world.client, world.namespace, self.cache)
        secrets, refusals = SecretReader(recorder, self._now), RefusalReader(recorder, self._now)
        nodes = NodeReader(recorder, self._now)
        sources = Sources(recorder, self.cache, secrets, link, refusals, nodes)
        settings = settings or Settings(identity="test")
        self.reconcile = Reconciler(sources, settings, clock, monotonic=self._now)

    def _now(self) -> float:
        return (self._stopped or time.monotonic()) + self.ahead

    def stop_clock(self) -> None:
        """From now on time passes by `ahead` alone, however slow the machine is."""
        self._stopped = time.monotonic()

    async def a_pass(self) -> float | None:
        """One pass, and the next while the cache is late, as the work queue does it."""
        while True:
            try:
                return await self.reconcile(self.key)
            except ConflictError:
                await asyncio.sleep(0.05)

    def view(self) -> View | None:
        return self.cache.view(self.key)

    async def known(self) -> bool:
        """Whether the cache has heard of the job."""
        return self.view() is not None

    async def ready(self) -> bool:
        """Whether the cache has heard that all pods are ready."""
        view = self.view()
        return view is not None and len(view.pods) == 5 and all(pod.ready for pod in view.pods)

    async def settle(self, until: Any = eventually) -> None:
        """Up to where a pass finds nothing to do."""
        await self.world.create_secret()
        await self.world.create_job()
        await until(self.known)
        await self.a_pass()
        await self.world.run_pods()
        await until(self.ready)
        await until(self.quiet)

    async def quiet(self) -> bool:
        """A pass; whether it wrote nothing."""
        self.recorder.writes.clear()
        await self.a_pass()
        return not self.recorder.writes
