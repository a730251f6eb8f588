"""`make bench-coordinator`: latencies of a coordinator at ten times the reference run's rate.

One real coordinator process and a real S3 server; this process acts as all pods. Results arrive at
a fixed rate (43 episodes per second of 32k tokens), whatever the answers take: a latency counts
from the moment at which a request was due. Rank 0 takes every batch that is full, publishes, and
checkpoints as often as the reference run does; each checkpoint has the ledger's snapshot taken and
its groups covered while the load goes on. The last line is one JSON object: `p99_ms` of `lease`,
`result` and `heartbeat`, `commit_ms` (median of the calls that cover a checkpoint's groups),
`snapshot_s`, `rss_mib` (largest resident memory of the coordinator) and `episodes_per_s`.
"""

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

import aiohttp
import psutil

from sea_api.contract import Env
from sea_api.v1alpha1.job import Spec
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_data.tiny_model import model_folder
from sea_devcluster import interrupts
from sea_devcluster.s3 import S3Server
from sea_runtime.client.async_client import AsyncCoordinatorClient
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.store.folders import upload_folder
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.membership import Heartbeat, PodState
from sea_runtime.wire.rollouts import EpisodeResult, Lease, LeaseRequest, Trajectory
from sea_runtime.wire.trainer import CheckpointCommitted, StageProgress
from sea_runtime.wire.weights import Shard, WeightVersion

Result = TypeVar("Result")
RATE, TOKENS, PODS = 43.0, 32_768, 40
"""Episodes per second, tokens of each, rollout pods: ten times the reference run."""
PROMPTS, SAMPLES, CHECKPOINT_EVERY = 16, 16, 5
HEARTBEAT_SECONDS = 1.0
UID, TOKEN, HOST, PORT = "0123456789abcdef", "token", "127.0.0.1", 18090
ROOT = "s3://runs/bench"


class Latencies:
    """Seconds from when each request was due to its answer, by kind."""

    def __init__(self) -> None:
        self.of: dict[str, list[float]] = {"lease": [], "result": [], "heartbeat": []}
        self.measuring = False

    async def measured(self, kind: str, due: float, call: Awaitable[Result]) -> Result:
        found = await call
        if self.measuring:
            self.of[kind].append(time.monotonic() - due)
        return found

    def p99_ms(self) -> dict[str, float]:
        return {
            kind: round(1000 * sorted(found)[int(0.99 * (len(found) - 1))], 1)
            for kind, found in self.of.items()
        }


def spec(endpoint: str) -> Spec:
    block = {
        "steps": 1_000_000,
        "promptsPerStep": PROMPTS,
        "trajectoriesPerPrompt": SAMPLES,
        "maxConcurrentGroups": 4 * PROMPTS,
        "maxStaleness": 8,
    }
    return Spec.model_validate(
        {
            "model": {"name": "m", "source": f"{ROOT}/model", "contextLength": TOKENS},
            "storage": {"url": ROOT, "endpoint": endpoint},
            "data": {"rl": [f"{ROOT}/rl.jsonl"]},
            "domains": ["shop"],
            "trainer": {"replicas": 1, "gpusPerPod": 0},
            "rollout": {"replicas": PODS, "gpusPerPod": 0},
            "stages": [{"name": "rl", "type": "RL", "rl": block}],
        }
    )


def desired(endpoint: str) -> CoordinatorSpec:
    return CoordinatorSpec(
        digest="bench",
        job="bench",
        uid=UID,
        spec_generation=1,
        spec=spec(endpoint),
        stage_index=0,
        attempt=1,
        run_url=f"{ROOT}/run",
    )


def upload_inputs(store: ObjectStore) -> None:
    rows = [{"id": f"shop_{i}", "evaluation_criteria": "{}"} for i in range(500)]
    store.put(f"{ROOT}/rl.jsonl", "\n".join(map(json.dumps, rows)).encode())
    with tempfile.TemporaryDirectory() as folder:
        model_folder.build(["Hello, where is my order?"] * 3, Path(folder), TOKENS)
        upload_folder(store, Path(folder), f"{ROOT}/model")


def start_coordinator(s3: S3Server, folder: Path) -> subprocess.Popen[bytes]:
    variables = {
        Env.JOB: "bench",
        Env.NAMESPACE: "bench",
        Env.JOB_UID: UID,
        Env.TOKEN: TOKEN,
        Env.POD_IP: HOST,
        Env.DATA_DIR: str(folder / "data"),
        "SEA_PORT": str(PORT),
    }
    with (folder / "coordinator.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "sea_runtime.coordinator"],
            env={**os.environ, **s3.environment(), **variables},
            stdout=log,
            stderr=log,
        )


class Rollouts:
    """All rollout pods: heartbeats, leases, and results at a fixed rate."""

    def __init__(self, clients: dict[str, AsyncCoordinatorClient], latencies: Latencies) -> None:
        self.clients, self.latencies = clients, latencies
        self.version = 0
        self.held: deque[tuple[str, Lease]] = deque()
        self.sent = self.starved = 0
        numbers = list(range(TOKENS))
        self._body = Trajectory.pack(numbers, [1] * TOKENS, [-0.5] * TOKENS, [0] * TOKENS).encode()
        self._transcript = [{"role": "user", "content": "x" * 500}] * 40

    async def heartbeats(self, pod: str, offset: float) -> None:
        due = time.monotonic() + offset
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            beat = self.clients[pod].heartbeat(partial(self._beat, pod))
            await self.latencies.measured("heartbeat", due, beat)
            due += HEARTBEAT_SECONDS

    def _beat(self, pod: str) -> Heartbeat:
        return Heartbeat(
            pod=pod,
            role="rollout",
            address="10.0.0.1",
            incarnation=pod,
            state=PodState.READY,
            adopted=self.version,
        )

    async def leases(self, pod: str) -> None:
        """Keeps enough episodes under way; one request at a time per pod."""
        while True:
            if len(self.held) < 8 * PODS:
                due = time.monotonic()
                request = LeaseRequest(pod=pod, incarnation=pod, want=8)
                call = self.clients[pod].lease(request)
                found = await self.latencies.measured("lease", due, call)
                self.held += [(pod, lease) for lease in found.leases]
            await asyncio.sleep(0.2)

    async def results(self, rate: float) -> None:
        due, tasks = time.monotonic(), set[asyncio.Task[None]]()
        while True:
            if self.held:
                pod, lease = self.held.popleft()
                task = asyncio.create_task(self._send(pod, lease, due))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            else:
                self.starved += 1
            due += 1.0 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _send(self, pod: str, lease: Lease, due: float) -> None:
        result = EpisodeResult(
            lease_id=lease.lease_id,
            pod=pod,
            incarnation=pod,
            reward=float(lease.sample % 2),
            error="",
            trajectory=self._body,
            generated_tokens=TOKENS,
            turns=20,
            stop="UserStop",
            transcript=self._transcript,
            seconds=60.0,
            details={},
            mean_version=0.0,
        )
        await self.latencies.measured("result", due, self.clients[pod].result(result))
        self.sent += 1


class Trainer:
    """Rank 0 of a trainer that takes no time, in threads of this process."""

    def __init__(self, client: CoordinatorClient, rollouts: Rollouts) -> None:
        self.client, self.rollouts = client, rollouts
        self.commits: list[float] = []
        self.snapshots: list[float] = []
        self.steps = 0
        self.ended = False
        """Ends the thread that waits for a batch; nobody fills it any more."""

    async def run(self) -> None:
        checkpoint: asyncio.Task[None] | None = None
        for step in itertools.count(1):
            await asyncio.to_thread(self._step, step)
            self.rollouts.version = self.steps = step
            if step % CHECKPOINT_EVERY == 0:
                # Next to the load, as a trainer's upload thread does it.
                if checkpoint is not None:
                    await checkpoint
                checkpoint = asyncio.create_task(asyncio.to_thread(self._checkpoint, step))

    def _step(self, step: int) -> None:
        while self.client.batch("rl", step, 1) is None:
            if self.ended:
                return
        shard = Shard(rank=0, nbytes=1, blocks=[])
        self.client.publish(
            WeightVersion(
                stream="policy", version=step, attempt=1, stage="rl", step=step, shards=[shard]
            )
        )
        row = StageProgress(attempt=1, step=step, total_steps=10**6, metrics={"loss": 0.5})
        self.client.progress("rl", row)

    def _checkpoint(self, step: int) -> None:
        began = time.monotonic()
        self.client.snapshot("rl", step, 1)
        self.snapshots.append(time.monotonic() - began)
        began = time.monotonic()
        self.client.committed(
            "rl",
            CheckpointCommitted(attempt=1, step=step, version=step, bytes=1, manifest_key="bench"),
        )
        self.commits.append(time.monotonic() - began)


async def measure(
    process: subprocess.Popen[bytes], wanted: CoordinatorSpec, seconds: float, rate: float
) -> dict[str, object]:
    url, latencies, largest = f"http://{HOST}:{PORT}", Latencies(), 0
    async with AsyncExitStack() as stack:
        clients = {
            f"rollout-{i}": await stack.enter_async_context(AsyncCoordinatorClient(url, TOKEN))
            for i in range(PODS)
        }
        await put_spec(url, wanted)
        rollouts = Rollouts(clients, latencies)
        trainer = Trainer(CoordinatorClient(url, TOKEN), rollouts)
        work = [rollouts.results(rate), trainer.run(), *map(rollouts.leases, clients)]
        work += [rollouts.heartbeats(pod, i / PODS) for i, pod in enumerate(clients)]
        tasks = [asyncio.ensure_future(one) for one in work]
        # The first batch is full, and caches are warm, before anything counts.
        while trainer.steps < 2:
            await asyncio.sleep(0.1)
            _raise_first(tasks)
        latencies.measuring, sent, began = True, rollouts.sent, time.monotonic()
        while time.monotonic() - began < seconds:
            await asyncio.sleep(0.25)
            _raise_first(tasks)
            largest = max(largest, psutil.Process(process.pid).memory_info().rss)
        passed, trainer.ended = time.monotonic() - began, True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "p99_ms": latencies.p99_ms(),
        "commit_ms": round(1000 * statistics.median(trainer.commits or [float("nan")]), 1),
        "snapshot_s": round(statistics.median(trainer.snapshots or [float("nan")]), 2),
        "rss_mib": round(largest / 2**20, 1),
        "episodes_per_s": round((rollouts.sent - sent) / passed, 1),
        "starved": rollouts.starved,
        "checkpoints": len(trainer.commits),
    }


def _raise_first(tasks: Sequence[asyncio.Future[None]]) -> None:
    for task in tasks:
        if task.done():
            task.result()


async def put_spec(url: str, wanted: CoordinatorSpec) -> None:
    """Sends the spec until the stage runs."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    body = wanted.model_dump_json(by_alias=True)
    async with aiohttp.ClientSession(url, headers=headers) as session:
        for _ in range(600):
            try:
                await (await session.put("/v1/spec", data=body)).read()
                async with session.get("/v1/state") as reply:
                    stages = (await reply.json()).get("stages")
                if stages and stages[0]["phase"] == "Running":
                    return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)
    raise SystemExit("The coordinator's stage did not begin within 120 s.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="seconds to measure (default 60)"
    )
    parser.add_argument("--rate", type=float, default=RATE, help="episodes per second")
    options = parser.parse_args()
    # What a time-out or a person ends must not leave a coordinator behind.
    interrupts.raise_on_signals()
    with tempfile.TemporaryDirectory(prefix="bench-coordinator-") as name:
        folder = Path(name)
        with S3Server(folder / "s3") as s3:
            s3.create_bucket("runs")
            os.environ.update(s3.environment())
            upload_inputs(ObjectStore())
            wanted = desired(s3.endpoint)
            process = start_coordinator(s3, folder)
            try:
                found = asyncio.run(measure(process, wanted, options.seconds, options.rate))
            except BaseException:
                print((folder / "coordinator.log").read_text()[-4000:], file=sys.stderr)
                raise
            finally:
                process.kill()
                process.wait(10.0)
    for key, value in found.items():
        print(f"{key:<16}{value}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
