"""`make bench-operator [N=2000]`: what the operator costs and how fast it is, at 200 and N jobs.

A real API server, etcd, controller manager and scheduler on this machine, and kwok's nodes, on
which pods run as `kwok.yaml` says; the jobs' coordinators are pretended by
`operator_coordinators.py`. The default of 20 and 50 requests per second of controller manager and
scheduler bounds the creation of pods of every operator: it is raised to 500.

Measured for each number of jobs, on a fresh control plane:

- `jobs_per_s`, `cpu_ms_per_job`: from the first `create` until all StatefulSets exist;
- `requests_per_active_job_min`: `apiserver_request_total` while nothing changes, with the operator
  minus without it (lease renewals included, watches count when they end);
- `status_p50_s`, `status_p99_s`: from a pod's status to the job's status that shows it;
- `children_s`: from `create` of one more job until its last StatefulSet exists, the worst of five;
- `idle_cores`: share of a core while all jobs are polled and nothing changes;
- `rss_mib`: the operator's resident memory at the end.

A kopf operator whose only handler does nothing runs beside all of it: `noop`. The file isn't called
operator.py, since that would hide the standard library's module from the programs next to it.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from sea_api.contract import JOB_LABEL
from sea_api.v1alpha1.job import GROUP, KIND, VERSION
from sea_devcluster.build import KWOK, find_or_build_tool
from sea_devcluster.components import API_SERVER, ARGUMENTS, CONTROLLER_MANAGER, ETCD, SCHEDULER
from sea_devcluster.controlplane import ControlPlane
from sea_devcluster.ports import free_ports
from sea_operator.errors import KubeError, NotFoundError
from sea_operator.kube import client as kube_client
from sea_operator.kube.client import JOB, LEASE, POD, SECRET, STATEFUL_SET, Kind, KubeClient
from sea_operator.kube.connection import Connection

FOLDER = Path(__file__).parent
NAMESPACE = "bench"
NAMESPACES = Kind("v1", "Namespace", "namespaces")
NODES = Kind("v1", "Node", "nodes")
NODE_COUNT = 20
MERGE = "application/merge-patch+json"
CRD = FOLDER.parent / "crds" / "sea-operator.io_seatrainingjobs.yaml"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SETS_PER_JOB = 4
WINDOW_SECONDS = 20.0
SAMPLES = 100
CREATORS = 8
KWOK_ARGUMENTS = (
    f"--config={FOLDER / 'kwok.yaml'}",
    "--manage-all-nodes=true",
    "--node-lease-duration-seconds=40",
    "-v=ERROR",
)
SPEC: dict[str, Any] = {
    "model": {"name": "m", "source": "builtin:tiny"},
    "storage": {"url": "s3://bucket/prefix", "credentialsSecret": "s3"},
    "data": {"rl": ["s3://bucket/rl.jsonl"]},
    "domains": ["shop"],
    "stages": [{"name": "rl", "type": "RL", "rl": {}}],
    "trainer": {"replicas": 2, "gpusPerPod": 0},
    "rollout": {"replicas": 1, "gpusPerPod": 0},
    "userModel": {"engine": "VLLM", "replicas": 1, "gpusPerPod": 0},
}


@dataclass
class Seen:
    """What a watcher that isn't the operator has seen, with the time of it."""

    sets: dict[str, int] = field(default_factory=dict)
    """StatefulSets of each job."""
    last_set: dict[str, float] = field(default_factory=dict)
    ready: dict[str, int] = field(default_factory=dict)
    """Ready rollout pods, as each job's status says."""
    ready_at: dict[str, float] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take_set(self, type_: str, live: dict[str, Any]) -> None:
        job = live["metadata"].get("labels", {}).get(JOB_LABEL)
        if type_ == "ADDED" and job:
            self.sets[job] = self.sets.get(job, 0) + 1
            self.last_set[job] = time.monotonic()

    def take_job(self, _: str, live: dict[str, Any]) -> None:
        name, status = live["metadata"]["name"], live.get("status", {})
        conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
        if conditions.get("Ready") == "True":
            self.running.add(name)
        ready = status.get("roles", {}).get("rollout", {}).get("ready", 0)
        if ready != self.ready.get(name):
            self.ready[name] = ready
            self.ready_at[name] = time.monotonic()

    async def until(self, check: Callable[[], bool], seconds: float, what: str) -> None:
        """Waits for `check`; ends the benchmark with a sentence after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while not check():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise SystemExit(f"{what}: not within {seconds:.0f} s.") from None


async def watch(client: KubeClient, kind: Kind, take: Callable[..., None], seen: Seen) -> None:
    """Feeds `take` with all events from the start, when nothing exists."""
    version = (await client.page(kind, NAMESPACE, "")).version
    while True:
        with contextlib.suppress(KubeError):
            async for type_, live in client.watch(kind, NAMESPACE, "", version):
                version = live["metadata"]["resourceVersion"]
                if type_ != "BOOKMARK":
                    take(type_, live)
                    seen.changed.set()


@contextlib.contextmanager
def control_plane() -> Iterator[ControlPlane]:
    """Controller manager and scheduler may send 500 requests per second."""
    before = {name: ARGUMENTS[name] for name in (CONTROLLER_MANAGER, SCHEDULER)}
    faster = ["--kube-api-qps=500", "--kube-api-burst=1000"]
    for name, arguments in before.items():
        ARGUMENTS[name] = lambda layout, arguments=arguments: [*arguments(layout), *faster]  # type: ignore[misc]
    try:
        with tempfile.TemporaryDirectory() as folder:
            components = (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER)
            with ControlPlane(Path(folder) / "plane", components=components) as plane:
                yield plane
    finally:
        ARGUMENTS.update(before)


@contextlib.contextmanager
def process(program: str, *arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A child that ends with the block."""
    child = subprocess.Popen([program, *arguments], text=True, **more)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


async def prepare(client: KubeClient) -> None:
    """The CRD, kwok's nodes, the namespace and the Secret of all jobs."""
    await client.request("POST", CRDS, [], yaml.safe_load(CRD.read_text()))
    meta = {"metadata": {"name": NAMESPACE}}
    await client.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", **meta})
    for i in range(NODE_COUNT):
        named = {"metadata": {"name": f"kwok-{i}"}}
        await client.create(NODES, None, {"apiVersion": "v1", "kind": "Node", **named})
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3"}}
    await client.create(SECRET, NAMESPACE, {**secret, "stringData": keys})
    for _ in range(60):
        try:
            await client.page(JOB, NAMESPACE, "")
        except KubeError:
            await asyncio.sleep(0.5)
        else:
            return
    raise SystemExit("The API server doesn't serve the CRD after 30 s.")


async def leads(client: KubeClient) -> None:
    """Waits until the operator holds its lease."""
    for _ in range(240):
        with contextlib.suppress(NotFoundError):
            lease = await client.get(LEASE, NAMESPACE, "sea-operator")
            if lease["spec"].get("holderIdentity"):
                return
        await asyncio.sleep(0.5)
    raise SystemExit("The operator doesn't hold its lease after 120 s.")


async def create(client: KubeClient, names: list[str]) -> None:
    """Jobs, some at a time."""
    left = iter(names)

    async def some() -> None:
        for name in left:
            kind = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND}
            await client.create(JOB, NAMESPACE, {**kind, "metadata": {"name": name}, "spec": SPEC})

    await asyncio.gather(*(some() for _ in range(CREATORS)))


def requests_so_far(plane: ControlPlane) -> float:
    """All requests that the API server has answered."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{plane.url}/metrics", headers={"Authorization": f"Bearer {plane.token}"}
    )
    context = ssl.create_default_context(cafile=plane.ca_file)
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:  # noqa: S310
        text = answer.read().decode()
    found = re.findall(r"^apiserver_request_total\{[^}]*\} ([0-9.e+]+)$", text, re.MULTILINE)
    return sum(map(float, found))


def cpu_seconds(child: psutil.Process) -> float:
    times = child.cpu_times()
    return float(times.user + times.system)


async def set_unready(client: KubeClient, pod: str) -> None:
    """Says of a pod that it isn't ready any more."""
    conditions = [{"type": "Ready", "status": "False"}]
    path = POD.path(NAMESPACE, pod, "status")
    await client.request("PATCH", path, [], {"status": {"conditions": conditions}}, MERGE)


async def status_delays(client: KubeClient, seen: Seen, jobs: list[str]) -> list[float]:
    """From a pod that isn't ready any more to the job's status that says so."""
    delays = []
    for name in jobs:
        began = time.monotonic()
        await set_unready(client, f"{name}-rollout-0")
        await seen.until(lambda name=name: seen.ready.get(name) == 0, 120, f"{name}'s status")  # type: ignore[misc]
        delays.append(seen.ready_at[name] - began)
        await asyncio.sleep(0.05)
    return delays


async def children_delays(client: KubeClient, seen: Seen) -> list[float]:
    """From a new job to its last StatefulSet."""
    delays = []
    for name in (f"late-{i}" for i in range(5)):
        began = time.monotonic()
        await create(client, [name])
        await seen.until(lambda name=name: seen.sets.get(name) == SETS_PER_JOB, 1200, name)  # type: ignore[misc]
        delays.append(seen.last_set[name] - began)
    return delays


@dataclass
class Measured:
    """One control plane with its processes, in the middle of the benchmark."""

    plane: ControlPlane
    client: KubeClient
    seen: Seen
    operator: psutil.Process
    noop: psutil.Process

    async def creation(self, count: int) -> dict[str, float]:
        names = [f"j{i}" for i in range(count)]
        before = [cpu_seconds(one) for one in (self.operator, self.noop)]
        began = time.monotonic()
        creating = asyncio.create_task(create(self.client, names))
        sets = self.seen.sets
        limit = 60 + 2.0 * count
        await self.seen.until(
            lambda: sum(sets.values()) >= SETS_PER_JOB * count, limit, "all StatefulSets"
        )
        took = time.monotonic() - began
        await creating
        after = [cpu_seconds(one) for one in (self.operator, self.noop)]
        spent = [1000 * (b - a) / count for a, b in zip(before, after, strict=True)]
        await self.seen.until(lambda: len(self.seen.running) >= count, limit, "all jobs Ready")
        return {
            "jobs_per_s": count / took,
            "cpu_ms_per_job": spent[0],
            "noop_cpu_ms_per_job": spent[1],
            "all_ready_s": time.monotonic() - began,
        }

    async def window(self) -> tuple[float, float]:
        """Requests at the API server and the operator's share of a core while nothing changes."""
        running = self.operator.is_running()
        cpu, count = cpu_seconds(self.operator) if running else 0.0, requests_so_far(self.plane)
        await asyncio.sleep(WINDOW_SECONDS)
        used = cpu_seconds(self.operator) - cpu if running else 0.0
        return requests_so_far(self.plane) - count, used / WINDOW_SECONDS


@contextlib.asynccontextmanager
async def started(plane: ControlPlane, python: str) -> AsyncIterator[Measured]:
    """The API server's content and all processes."""
    environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig)}
    os.environ["KUBECONFIG"] = str(plane.kubeconfig)
    environment["HEALTH_PORT"] = str(free_ports(("127.0.0.1",), 1)[0])
    client = KubeClient(await Connection.open())
    seen = Seen()
    child = str(FOLDER / "operator_child.py")
    with contextlib.ExitStack() as stack:
        await prepare(client)
        stack.enter_context(
            process(str(find_or_build_tool(KWOK)), *KWOK_ARGUMENTS, env=environment)
        )
        coordinators = stack.enter_context(
            process(
                sys.executable,
                str(FOLDER / "operator_coordinators.py"),
                env=environment,
                stdout=subprocess.PIPE,
            )
        )
        assert coordinators.stdout is not None
        url = coordinators.stdout.readline().strip()
        watchers = [
            asyncio.create_task(watch(client, STATEFUL_SET, seen.take_set, seen)),
            asyncio.create_task(watch(client, JOB, seen.take_job, seen)),
        ]
        operator = stack.enter_context(
            process(python, "-P", child, "operator", url, env=environment)
        )
        login = (plane.url, str(plane.ca_file), plane.token)
        noop = stack.enter_context(process(python, "-P", child, "noop", *login))
        await leads(client)
        await asyncio.sleep(5.0)  # the other one lists
        yield Measured(plane, client, seen, psutil.Process(operator.pid), psutil.Process(noop.pid))
        for task in watchers:
            task.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
    await client.close()


async def measure(count: int, python: str) -> dict[str, float]:
    """All figures at `count` jobs."""
    with control_plane() as plane:
        async with started(plane, python) as measured:
            figures = await measured.creation(count)
            await asyncio.sleep(5.0)  # what is on its way arrives
            with_operator, figures["idle_cores"] = await measured.window()
            step = max(1, count // SAMPLES)
            jobs = [f"j{i}" for i in range(0, count, step)][:SAMPLES]
            delays = sorted(await status_delays(measured.client, measured.seen, jobs))
            figures["status_p50_s"] = statistics.median(delays)
            figures["status_p99_s"] = delays[int(0.99 * (len(delays) - 1))]
            figures["children_s"] = max(await children_delays(measured.client, measured.seen))
            figures["rss_mib"] = measured.operator.memory_info().rss / 2**20
            figures["noop_rss_mib"] = measured.noop.memory_info().rss / 2**20
            measured.operator.kill()
            measured.operator.wait()
            await asyncio.sleep(2.0)
            without, _ = await measured.window()
            per_minute = 60 / WINDOW_SECONDS / count
            figures["requests_per_active_job_min"] = (with_operator - without) * per_minute
    return {key: round(value, 3) for key, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=200, help="measured after 200 (default 200)")
    parser.add_argument("--python", default=sys.executable, help="of another checkout's operator")
    given = parser.parse_args()
    kube_client.TIMEOUT_SECONDS = 120.0  # of this process: it only looks on
    found: dict[str, Any] = {}
    for count in sorted({200, given.jobs}):
        figures = asyncio.run(measure(count, given.python))
        print(f"{count} jobs")
        for name, value in figures.items():
            print(f"  {name:<30}{value:>10.3f}")
        noop = {name: figures.pop(f"noop_{name}") for name in ("cpu_ms_per_job", "rss_mib")}
        found[str(count)] = figures
        found.setdefault("noop", {})[str(count)] = noop
    print(json.dumps(found))


if __name__ == "__main__":
    main()
