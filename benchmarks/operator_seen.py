"""What somebody who isn't the operator sees of the jobs in `operator_cluster.py`, with times."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sea_api.contract import JOB_LABEL
from sea_operator.errors import KubeError
from sea_operator.kube.client import Kind, KubeClient

NAMESPACE = "bench"


class TooSlowError(Exception):
    """A part of the benchmark can't be measured; others can."""


@dataclass
class Seen:
    """What a watcher that isn't the operator has seen, with the time of it."""

    sets: dict[str, int] = field(default_factory=dict)
    """StatefulSets of each job."""
    last_set: dict[str, float] = field(default_factory=dict)
    ready: dict[str, int] = field(default_factory=dict)
    """Ready rollout pods, as each job's status says."""
    ready_at: dict[str, float] = field(default_factory=dict)
    job_at: dict[str, float] = field(default_factory=dict)
    """When each job was first seen."""
    status_at: dict[str, float] = field(default_factory=dict)
    """When each job had its first status."""
    running: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)
    """Of each job's condition `Ready`."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take_set(self, type_: str, live: dict[str, Any]) -> None:
        job = live["metadata"].get("labels", {}).get(JOB_LABEL)
        if type_ == "ADDED" and job:
            self.sets[job] = self.sets.get(job, 0) + 1
            self.last_set[job] = time.monotonic()

    def take_job(self, _: str, live: dict[str, Any]) -> None:
        name, status = live["metadata"]["name"], live.get("status", {})
        self.job_at.setdefault(name, time.monotonic())
        conditions = {one["type"]: one for one in status.get("conditions", [])}
        if "Ready" in conditions:
            self.status_at.setdefault(name, time.monotonic())
            self.reasons[name] = conditions["Ready"]["reason"]
            if conditions["Ready"]["status"] == "True":
                self.running.add(name)
        ready = status.get("roles", {}).get("rollout", {}).get("ready", 0)
        if ready != self.ready.get(name):
            self.ready[name] = ready
            self.ready_at[name] = time.monotonic()

    async def until(self, check: Callable[[], bool], seconds: float, what: str) -> None:
        """Waits for `check`. Raises `TooSlowError` after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while not check():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise TooSlowError(f"{what}: not within {seconds:.0f} s.") from None


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
