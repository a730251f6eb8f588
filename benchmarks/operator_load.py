"""`make bench-operator [N=2000] [ONLY=waiting]`: what the operator costs, and how fast it is.

`operator_cluster.py` says what it runs in. Measured for each number of jobs, on a fresh control
plane:

- `jobs_per_s`, `cpu_ms_per_job`: from the first `create` until all StatefulSets exist;
- `all_ready_s`: until all jobs are `Ready`;
- `requests_per_active_job_min`, `idle_cores`: the operator's requests (lease renewals included) and
  its share of a core while all jobs run and nothing changes. The window begins once the operator
  has written nothing for a while, and is as long as the longest interval at which it reads anything
  again;
- `status_p50_s`, `status_p99_s`: from a pod's status to the job's status that shows it;
- `children_s`: from `create` of one more job until its last StatefulSet exists, the worst of five;
- `rss_mib`: the operator's resident memory at the end.

And, on another control plane, `first_status_p99_s`: from `create` of a job to its first status,
`alone`, then next to jobs that wait: half of them for GPUs, half for a coordinator that doesn't
answer.

A kopf operator whose only handler does nothing runs next to all of it: `noop`. The file isn't
called operator.py, since that would hide the standard library's module from the programs next to
it.

More than 200 jobs, and those that wait, have two pods each instead of five: it is the controller
manager that makes them, and this measures the operator. On two cores each of the two parts takes
about ten minutes with 2,000 jobs: `ONLY=active` or `ONLY=waiting` measures one of them, without the
200 jobs. What isn't measured after `--minutes` is left out, with a sentence about it in
`unfinished`.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import psutil
from operator_cluster import Cluster, create, delete, set_unready, started
from operator_seen import TooSlowError

from sea_devcluster.interrupts import raise_on_signals
from sea_operator.kube import client as kube_client

FEW = 200
QUIET_SECONDS = 5.0
"""Without a write of the operator: what was on its way has arrived."""
WINDOW_SECONDS = 120.0
"""After which each Secret is read again (`secret_reader.MAX_AGE_SECONDS`)."""
SAMPLES = 100
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
# An evaluation runs without the trainer: coordinator and engine.
LIGHT_SPEC: dict[str, Any] = {
    **SPEC,
    "stages": [{"name": "eval", "type": "Evaluation", "evaluation": {}}],
    "trainer": {"replicas": 1, "gpusPerPod": 0},
    "userModel": {},
}
# No node is of that pool. Where nodes might have the GPUs, the scheduler would try all waiting pods
# again after each deletion of any pod: half a core with 500 of them, that isn't the operator's.
NO_NODE = {"template": {"nodeSelector": {"pool": "h200"}}}
GPU_SPEC = {**LIGHT_SPEC, "rollout": {"replicas": 1, "gpusPerPod": 8, **NO_NODE}}
SILENT_SPEC = LIGHT_SPEC

Figures = dict[str, float]
Part = tuple[Figures, list[str]]
"""Figures, and sentences about those that are missing."""


def cpu_seconds(child: psutil.Process) -> float:
    times = child.cpu_times()
    return float(times.user + times.system)


def p99(delays: list[float]) -> float:
    return sorted(delays)[int(0.99 * (len(delays) - 1))]


def spec_of(count: int) -> tuple[dict[str, Any], int]:
    """The spec of that many jobs, and the StatefulSets of each."""
    return (SPEC, 4) if count <= FEW else (LIGHT_SPEC, 3)


async def creation(cluster: Cluster, count: int) -> dict[str, float]:
    """Creates the jobs, until all are Ready."""
    spec, sets = spec_of(count)
    names = [f"j{i}" for i in range(count)]
    children = (cluster.operator, cluster.noop)
    before = [cpu_seconds(one) for one in children]
    began = time.monotonic()
    creating = asyncio.create_task(create(cluster.client, names, spec))
    seen, limit = cluster.seen, 60 + 2.0 * count
    await seen.until(lambda: sum(seen.sets.values()) >= sets * count, limit, "all StatefulSets")
    took = time.monotonic() - began
    await creating
    after = [cpu_seconds(one) for one in children]
    spent = [1000 * (b - a) / count for a, b in zip(before, after, strict=True)]
    await seen.until(lambda: len(seen.running) >= count, limit, "all jobs Ready")
    return {
        "jobs_per_s": count / took,
        "cpu_ms_per_job": spent[0],
        "noop_cpu_ms_per_job": spent[1],
        "all_ready_s": time.monotonic() - began,
    }


async def quiet(cluster: Cluster) -> Counter[str]:
    """Waits until the operator writes nothing but its lease; its requests up to then."""
    found: Counter[str] = Counter()
    for _ in range(60):
        await asyncio.sleep(QUIET_SECONDS)
        new = cluster.requests.since_last()
        found += new
        if not any(is_write(name) for name in new):
            return found
    raise TooSlowError("The operator goes on writing although nothing changes.")


def is_write(name: str) -> bool:
    verb, resource = name.split(" ")
    return verb not in ("get", "list", "watch") and resource != "leases"


async def window(cluster: Cluster, count: int) -> dict[str, float]:
    """What the operator does while nothing changes."""
    created = await quiet(cluster)
    cpu = cpu_seconds(cluster.operator)
    await asyncio.sleep(WINDOW_SECONDS)
    used = cpu_seconds(cluster.operator) - cpu
    found = cluster.requests.since_last()
    for title, requests in (("per job until all is quiet", created), ("in the window", found)):
        share = {name: round(n / count, 2) for name, n in requests.most_common()}
        print(f"  requests {title}: {share}")
    per_minute = 60 / WINDOW_SECONDS / count
    return {
        "requests_per_active_job_min": found.total() * per_minute,
        "idle_cores": used / WINDOW_SECONDS,
    }


async def status_delays(cluster: Cluster, jobs: list[str]) -> list[float]:
    """Seconds from a pod that is no longer ready to the job's status that says so."""
    seen, delays = cluster.seen, []
    for name in jobs:
        began = time.monotonic()
        await set_unready(cluster.client, f"{name}-rollout-0")
        await seen.until(lambda name=name: seen.ready.get(name) == 0, 120, f"{name}'s status")  # type: ignore[misc]
        delays.append(seen.ready_at[name] - began)
        await asyncio.sleep(0.05)
    return delays


async def children_delays(cluster: Cluster, count: int) -> list[float]:
    """Seconds from a new job to its last StatefulSet."""
    seen, delays = cluster.seen, []
    spec, sets = spec_of(count)
    for name in (f"late-{i}" for i in range(5)):
        began = time.monotonic()
        await create(cluster.client, [name], spec)
        await seen.until(lambda name=name: seen.sets.get(name) == sets, 1200, name)  # type: ignore[misc]
        delays.append(seen.last_set[name] - began)
    return delays


async def active(count: int, python: str, figures: Figures) -> None:
    """All figures of `count` jobs that run."""
    async with started(python) as cluster:
        figures |= await creation(cluster, count)
        figures |= await window(cluster, count)
        step = max(1, count // SAMPLES)
        jobs = [f"j{i}" for i in range(0, count, step)][:SAMPLES]
        delays = await status_delays(cluster, jobs)
        figures["status_p50_s"] = statistics.median(delays)
        figures["status_p99_s"] = p99(delays)
        figures["children_s"] = max(await children_delays(cluster, count))
        figures["rss_mib"] = cluster.operator.memory_info().rss / 2**20
        figures["noop_rss_mib"] = cluster.noop.memory_info().rss / 2**20


async def first_status(cluster: Cluster, series: str) -> Figures:
    """From a new job to its first status; each job is whole, and gone, before the next comes, so
    that none is measured next to the others' creation and deletion.

    Of it `create` is the API server's answer and `watch` the time until somebody else's watch shows
    the job: an operator can't be faster.
    """
    seen = cluster.seen
    parts: dict[str, list[float]] = {"create": [], "watch": [], "status": []}
    cluster.requests.since_last()
    cpu, started_at = cpu_seconds(cluster.operator), time.monotonic()
    spec, sets = spec_of(FEW)
    for name in (f"{series}-{i}" for i in range(SAMPLES)):
        began = time.monotonic()
        await create(cluster.client, [name], spec)
        parts["create"].append(time.monotonic() - began)
        await seen.until(lambda name=name: name in seen.status_at, 300, f"{name}'s status")  # type: ignore[misc]
        parts["watch"].append(seen.job_at[name] - began)
        parts["status"].append(seen.status_at[name] - began)
        await seen.until(lambda name=name: seen.sets.get(name) == sets, 300, f"{name}'s sets")  # type: ignore[misc]
        await delete(cluster.client, name)
    took = time.monotonic() - started_at
    share = (cpu_seconds(cluster.operator) - cpu) / took
    print(f"  {series}: {share:.2f} cores of the operator, {SAMPLES / took:.1f} new jobs/s")
    found = cluster.requests.since_last().most_common(8)
    rates = {name: round(n / took, 1) for name, n in found}
    print(f"  {series}: requests per second {rates}")
    for name, delays in parts.items():
        print(f"  {series}: {name} p50 {statistics.median(delays):.3f} p99 {p99(delays):.3f} s")
    return {name: p99(delays) for name, delays in parts.items()}


async def add_waiting(cluster: Cluster, total: int) -> None:
    """Jobs that wait; returns once each says what for."""
    gpus = [f"gpus-{i}" for i in range(total // 2)]
    silent = [f"silent-{i}" for i in range(total // 2, total)]
    await create(cluster.client, gpus, GPU_SPEC)
    await create(cluster.client, silent, SILENT_SPEC)
    seen = cluster.seen
    expected = dict.fromkeys(gpus, "PodsNotReady") | dict.fromkeys(silent, "CoordinatorBehind")
    await seen.until(
        lambda: all(seen.reasons.get(name) == reason for name, reason in expected.items()),
        120 + 2.0 * total,
        f"{total} jobs that wait",
    )
    await quiet(cluster)


async def waiting(count: int, python: str, figures: Figures) -> None:
    """A first status alone and next to jobs that wait."""
    async with started(python) as cluster:
        figures["alone"] = (await first_status(cluster, "alone"))["status"]
        began = time.monotonic()
        await add_waiting(cluster, count)
        print(f"  {count} jobs that wait, after {time.monotonic() - began:.0f} s", flush=True)
        figures[f"next_to_{count}_waiting"] = (await first_status(cluster, "next"))["status"]


def measure(title: str, part: Callable[[Figures], Coroutine[Any, Any, None]], end: float) -> Part:
    """Figures of a part, as many as there are at `end` (monotonic seconds), and why not all."""
    print(title, flush=True)
    found: Figures = {}
    why = ""
    try:
        asyncio.run(asyncio.wait_for(part(found), end - time.monotonic()))
    except TooSlowError as error:
        why = f"{title}: {error}"
    except TimeoutError:
        why = f"{title}: no time was left."
    found = {name: round(value, 3) for name, value in found.items()}
    for name, value in found.items():
        print(f"  {name:<30}{value:>10.3f}", flush=True)
    return found, [why] if why else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--jobs",
        type=int,
        default=200,
        help="jobs (default 200); more are measured after a run with 200",
    )
    parser.add_argument(
        "--python", default=sys.executable, help="Python of another checkout, to run its operator"
    )
    parser.add_argument("--only", choices=["active", "waiting"], help="run only this part")
    parser.add_argument(
        "--minutes", type=float, default=15.0, help="time limit in minutes (default 15)"
    )
    given = parser.parse_args()
    # A SIGTERM must leave none of the cluster's processes behind.
    raise_on_signals()
    end = time.monotonic() + 60 * given.minutes
    kube_client.TIMEOUT_SECONDS = 120.0  # of this process, which only observes
    found: dict[str, Any] = {"unfinished": []}

    def run_active(count: int) -> None:
        part = partial(active, count, given.python)
        figures, missing = measure(f"{count} jobs", part, end)
        noop = {
            name: figures.pop(f"noop_{name}")
            for name in ("cpu_ms_per_job", "rss_mib")
            if f"noop_{name}" in figures
        }
        found[str(count)] = figures
        found.setdefault("noop", {})[str(count)] = noop
        found["unfinished"] += missing

    if given.only is None:
        run_active(min(FEW, given.jobs))
    if given.only != "active":
        part = partial(waiting, given.jobs, given.python)
        found["first_status_p99_s"], missing = measure("first status", part, end)
        found["unfinished"] += missing
    # Last: the part that takes longest is the one that a slow machine cuts off.
    if given.only == "active" or (given.only is None and given.jobs > FEW):
        run_active(given.jobs)
    for sentence in found["unfinished"]:
        print(f"Not measured: {sentence}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
