"""One job around a real coordinator process: its data, its operator, its trainer, its workers.

Everything but the coordinator is simulated, over real HTTP with the product's own clients.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from sea_api.v1alpha1.job import Spec
from sea_api.wire.desired import Desired
from sea_api.wire.state import CoordinatorState
from sea_devcluster.s3 import S3Server
from sea_workloads.client.errors import CoordinatorError, StaleGenerationError
from sea_workloads.client.sync import CoordinatorClient
from sea_workloads.store import urls
from sea_workloads.store.s3 import ObjectStore
from sea_workloads.wire.membership import Heartbeat, HeartbeatReply, PodState
from sea_workloads.wire.rollouts import (
    Batch,
    EpisodeKind,
    EpisodeResult,
    Lease,
    LeaseRequest,
    Trajectory,
)
from sea_workloads.wire.trainer import (
    CheckpointCommitted,
    StageDone,
    StageProgress,
    TaskKind,
    TrainerTask,
)
from sea_workloads.wire.weights import Shard, WeightVersion

TOKEN = "token-of-the-job"
SHOP_DATABASE = b'{"users": {}, "orders": {}, "desk": {"state": {"transferred": false}}}'


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true value of the condition."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def task_row(number: int) -> dict[str, Any]:
    return {
        "id": f"shop_{number}",
        "user_scenario": {"instructions": {"domain": "shop", "reason_for_call": f"order {number}"}},
        "evaluation_criteria": json.dumps({"actions": [], "communicate_info": []}),
        "db_path": f"shop/db{number % 2}.json",
    }


def dialogue(number: int) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": "You are a shop desk."},
            {"role": "user", "content": f"Please cancel order A{number}."},
        ],
        "answer": {"role": "assistant", "content": f"Order A{number} is cancelled."},
    }


class Job:
    """One job: bucket prefix, data, coordinator process, operator's calls."""

    def __init__(self, s3: S3Server, folder: Path) -> None:
        os.environ.update(s3.environment())
        self.s3, self.folder = s3, folder
        self.uid = uuid.uuid4().hex
        self.root = f"s3://runs/{self.uid}"
        self.run_url = f"{self.root}/job-{self.uid[:8]}"
        self.store = ObjectStore(patience=30.0)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.data_dir = folder / "data"
        self._http = urllib3.PoolManager(retries=False)
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "coordinator.log"
        self.upload_data()

    def upload_data(self) -> None:
        self.put_rows("rl.jsonl", [task_row(i) for i in range(12)])
        self.put_rows("eval.jsonl", [task_row(100 + i) for i in range(6)])
        self.put_rows("sft.jsonl", [dialogue(i) for i in range(20)])
        self.store.put(f"{self.root}/databases/shop/bad.json", b'{"users": {}}')
        for i in range(2):
            self.store.put(f"{self.root}/databases/shop/db{i}.json", SHOP_DATABASE)

    def put_rows(self, name: str, rows: list[Any]) -> None:
        self.store.put(f"{self.root}/{name}", "".join(json.dumps(r) + "\n" for r in rows).encode())

    def spec(self, stages: list[dict[str, Any]] | None = None, **changes: Any) -> Spec:
        return Spec.model_validate(
            {
                "model": {"name": "tiny", "source": "builtin:tiny", "contextLength": 256},
                "storage": {"url": self.root, "endpoint": self.s3.endpoint},
                "data": {
                    "sft": [f"{self.root}/sft.jsonl"],
                    "rl": [f"{self.root}/rl.jsonl"],
                    "databases": f"{self.root}/databases",
                },
                "domains": ["shop"],
                "stages": stages or FULL_PROGRAM(self.root),
                "trainer": {"replicas": 2, "gpusPerPod": 0},
                "rollout": {"replicas": 1, "gpusPerPod": 0},
                "userModel": {"engine": "Vllm", "gpusPerPod": 0},
                "checkpoint": {"everySteps": 2},
                **changes,
            }
        )

    def desired(
        self, spec: Spec, stage: int = 0, generation: int = 1, drain: bool = False
    ) -> Desired:
        digest = hashlib.sha256(f"{spec}{stage}{generation}{drain}".encode()).hexdigest()[:12]
        return Desired(
            digest=digest,
            job="job",
            namespace="ns",
            uid=self.uid,
            spec_generation=1,
            spec=spec,
            stage_index=stage,
            generation=generation,
            drain=drain,
            run_url=self.run_url,
        )

    # --- the process ---

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = {
            **os.environ,
            "SEA_JOB": "job",
            "SEA_NAMESPACE": "ns",
            "SEA_JOB_UID": self.uid,
            "SEA_TOKEN": TOKEN,
            "POD_IP": "127.0.0.1",
            "SEA_DATA_DIR": str(self.data_dir),
            "SEA_PORT": str(self.port),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sea_workloads.coordinator"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def wipe(self) -> None:
        """The volume is lost."""
        shutil.rmtree(self.data_dir)

    # --- the operator ---

    def state(self) -> CoordinatorState:
        reply = self._http.request("GET", self.url + "/v1/state", headers=BEARER, timeout=10)
        assert reply.status == 200, reply.data
        return CoordinatorState.model_validate_json(reply.data)

    def want(self, desired: Desired) -> None:
        body = desired.model_dump_json(by_alias=True).encode()
        wait_for("PUT /v1/desired", lambda: self._put(body))

    def _put(self, body: bytes) -> bool:
        try:
            reply = self._http.request(
                "PUT", self.url + "/v1/desired", body=body, headers=BEARER, timeout=10
            )
        except urllib3.exceptions.HTTPError:
            return False
        assert reply.status == 200, reply.data
        return True

    def safe_state(self) -> CoordinatorState | None:
        try:
            return self.state()
        except (urllib3.exceptions.HTTPError, AssertionError):
            return None

    def step(self) -> int:
        """Steps of the first stage; 0 while nobody answers."""
        state = self.safe_state()
        return state.stages[0].step if state and state.stages else 0

    def phase(self) -> str:
        """Of the first stage; empty while nobody answers."""
        state = self.safe_state()
        return str(state.stages[0].phase) if state and state.stages else ""

    def get(self, path: str, token: str = TOKEN) -> urllib3.BaseHTTPResponse:
        return self._http.request(
            "GET", self.url + path, headers={"Authorization": f"Bearer {token}"}, timeout=20
        )

    def client(self, patience: float = 60.0) -> CoordinatorClient:
        return CoordinatorClient(self.url, TOKEN, patience=patience)


BEARER = {"Authorization": f"Bearer {TOKEN}"}


def FULL_PROGRAM(root: str, rl: dict[str, Any] | None = None) -> list[dict[str, Any]]:  # noqa: N802
    block = {
        "steps": 5,
        "promptsPerStep": 3,
        "trajectoriesPerPrompt": 4,
        "maxConcurrentGroups": 6,
        "maxStaleness": 1,
        **(rl or {}),
    }
    evaluation = {"tasks": [f"{root}/eval.jsonl"], "trials": 4}
    return [
        {"name": "user-sft", "type": "UserSft", "userSft": {"batchSize": 4}},
        {"name": "sft", "type": "Sft", "sft": {"batchSize": 4}},
        {"name": "eval-sft", "type": "Evaluation", "evaluation": evaluation},
        {"name": "rl", "type": "Rl", "rl": block},
        {"name": "eval-rl", "type": "Evaluation", "evaluation": evaluation},
    ]


class Pod(threading.Thread):
    """Something that beats its heart every 50 ms and acts between beats."""

    def __init__(self, job: Job, name: str, role: str) -> None:
        super().__init__(daemon=True, name=name)
        self.job, self.pod, self.role = job, name, role
        self.incarnation = uuid.uuid4().hex
        self.client = job.client()
        self.adopted: int | None = None
        self.generation = 0
        self.state = PodState.READY
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self.reply = HeartbeatReply()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def run(self) -> None:
        self._heart.start()
        try:
            while not self.ended.is_set():
                self.act()
        except BaseException as error:
            self.error = error
            raise

    def act(self) -> None:
        self.ended.wait(0.05)

    def stop(self) -> None:
        self.ended.set()

    def beat_once(self) -> HeartbeatReply:
        self.reply = self.client.heartbeat(
            Heartbeat(
                pod=self.pod,
                role=self.role,
                address=f"127.0.9.{len(self.pod)}",
                incarnation=self.incarnation,
                state=self.state,
                generation=self.generation,
                adopted=self.adopted,
            )
        )
        return self.reply

    def _beat(self) -> None:
        while not self.ended.is_set():
            try:
                self.beat_once()
            except CoordinatorError:
                if not self.ended.is_set():
                    raise
            self.ended.wait(0.05)


class Engine(Pod):
    """An engine with its updater: serves the newest version of its stream at once."""

    stream = "policy"

    def __init__(self, job: Job, name: str, role: str) -> None:
        super().__init__(job, name, role)
        self.adopted = 0
        self._updates = threading.Thread(target=self._update, daemon=True)

    def run(self) -> None:
        self._updates.start()
        super().run()

    def _update(self) -> None:
        client = self.job.client()
        while not self.ended.is_set():
            try:
                found = client.newer_weights(self.stream, self.adopted or 0, 1.0)
            except CoordinatorError:
                continue
            if found.newest is not None:
                self.adopted = found.newest.version


class UserPod(Engine):
    stream = "user"


class Worker(Engine):
    """Runs episodes: their rewards are drawn from the lease's seed."""

    def __init__(self, job: Job, name: str, seed: int = 0) -> None:
        super().__init__(job, name, "rollout")
        self.random = random.Random(seed)
        self.leases: list[Lease] = []
        self.counted: list[str] = []
        """Leases whose results were accepted."""
        self.broken = 0.0
        """Share of episodes that end without a verdict."""
        self.lost = 0.0
        """Share of episodes that the worker forgets about, as if killed."""

    def act(self) -> None:
        request = LeaseRequest(pod=self.pod, incarnation=self.incarnation, want=5)
        leases = self.client.lease(request).leases
        self.leases += leases
        for lease in leases:
            if self.ended.is_set():
                return
            if self.random.random() < self.lost:
                self.incarnation = uuid.uuid4().hex
                return
            self.finish(lease)

    def finish(self, lease: Lease) -> bool:
        result = episode(lease, self, None if self.random.random() < self.broken else "seed")
        accepted = self.client.result(result)
        if accepted and result.reward is not None:
            self.counted.append(lease.lease_id)
        return accepted


def episode(lease: Lease, worker: Pod, reward: float | str | None) -> EpisodeResult:
    """A result with a synthetic trajectory that names its lease."""
    if reward == "seed":
        reward = float(lease.seed % 3 == 0)
    version = worker.adopted or 0
    tokens = [lease.seed % 1000, lease.sample, 7, 8]
    return EpisodeResult(
        lease_id=lease.lease_id,
        pod=worker.pod,
        incarnation=worker.incarnation,
        reward=reward,  # type: ignore[arg-type]
        error="" if reward is not None else "The engine died.",
        trajectory=Trajectory.pack(
            tokens, [0, 0, 1, 1], [0, 0, -0.5, -0.1], [-1, -1] + [version] * 2
        ),
        generated_tokens=2,
        turns=1,
        stop="UserStop",
        transcript=[{"role": "user", "content": "Hello"}],
        seconds=0.01,
        details={"DB": reward},
    )


class Trainer(Pod):
    """Rank 0 with its supervisor: trains by counting, checkpoints to real head.json objects."""

    def __init__(self, job: Job, name: str = "job-trainer-0") -> None:
        super().__init__(job, name, "trainer")
        self.state = PodState.STARTING
        self.batches: dict[tuple[str, int], list[bytes]] = {}
        """Hash of every batch that was received, by stage and step, in order of receipt."""
        self.groups: dict[tuple[str, int], list[str]] = {}
        self.every = 2
        self.crash_after: int | None = None
        """Step after which the process dies, once."""
        self.stopped = False

    def act(self) -> None:
        if not self.reply.run or self.reply.world is None:
            self.generation, self.state = 0, PodState.STARTING
            self.ended.wait(0.02)
            return
        self.generation, self.state = self.reply.world.generation, PodState.READY
        try:
            self.process(self.generation)
        except StaleGenerationError:
            self.ended.wait(0.02)

    def process(self, generation: int) -> None:
        """One life of the training process."""
        while not self.ended.is_set():
            task = self.client.trainer_task(generation)
            if task.kind == TaskKind.STOP:
                self.stopped = True
                self.generation = 0
                self.ended.wait(0.1)
                return
            if task.kind == TaskKind.SFT:
                self.sft(task, generation)
            elif task.kind == TaskKind.RL and not self.rl(task, generation):
                return

    def sft(self, task: TrainerTask, generation: int) -> None:
        for step in range(1, 4):
            self.progress(task, generation, step, 3)
        self.checkpoint(task, generation, 3, task.first_version + 1)
        self.publish(task, generation, task.first_version + 1, 3, anchor=True)
        self.done(task, generation, 3)

    def rl(self, task: TrainerTask, generation: int) -> bool:
        assert task.spec is not None
        block = task.spec.stages[task.stage_index].rl
        assert block is not None
        step = self.resume_step(task)
        self.publish(task, generation, task.first_version + step, step)
        while step < block.steps:
            batch = self.next_batch(task, generation, step + 1)
            if batch is None:
                if step:
                    self.checkpoint(task, generation, step, task.first_version + step)
                return True
            step += 1
            self.publish(task, generation, task.first_version + step, step)
            if step % self.every == 0 or step == block.steps:
                self.checkpoint(task, generation, step, task.first_version + step)
            self.progress(task, generation, step, block.steps, reward=batch.mean_reward)
            if self.crash_after == step:
                self.crash_after = None
                self.state = PodState.FAILED
                wait_for("failure to be noticed", lambda: not self.reply.run)
                return False
        self.done(task, generation, step)
        return True

    def next_batch(self, task: TrainerTask, generation: int, step: int) -> Batch | None:
        while not self.ended.is_set():
            batch = self.client.batch(task.stage, step, generation)
            if batch is not None:
                self.remember(batch)
                return batch
            if self.client.trainer_task(generation).stage != task.stage:
                return None
        return None

    def remember(self, batch: Batch) -> None:
        import msgspec

        key = (batch.stage, batch.step)
        self.batches.setdefault(key, []).append(
            hashlib.sha256(msgspec.msgpack.encode(batch)).digest()
        )
        self.groups[key] = [group.group_id for group in batch.groups]

    def progress(
        self, task: TrainerTask, generation: int, step: int, total: int, **more: float
    ) -> None:
        metrics = {"loss": 1.0 / step, "tokens": 100.0, "train_s": 0.01, **more}
        row = StageProgress(generation=generation, step=step, total_steps=total, metrics=metrics)
        self.client.progress(task.stage, row)

    def publish(
        self, task: TrainerTask, generation: int, version: int, step: int, anchor: bool = False
    ) -> None:
        url = f"{task.run_url}/weights/{task.stream}/v{version:06d}/shard-0.bin"
        if anchor:
            self.job.store.put(url, b"weights")
        shard = Shard(rank=0, nbytes=7, tensors=[], object_url=url if anchor else None)
        self.client.publish(
            WeightVersion(
                stream=task.stream,
                version=version,
                generation=generation,
                stage=task.stage,
                step=step,
                shards=[shard],
            )
        )

    def checkpoint(self, task: TrainerTask, generation: int, step: int, version: int) -> None:
        """Snapshot, manifest, head: as the product's saver does."""
        taken = self.client.snapshot(task.stage, step, generation)
        folder = urls.join(
            task.run_url, f"stages/{task.stage}/checkpoints/step-{step:06d}-g{generation}"
        )
        body = self.job.store.get(str(urls.S3Url(urls.parse(task.run_url).bucket, taken.key)))
        assert hashlib.sha256(body).hexdigest() == taken.sha256
        manifest = urls.join(folder, "manifest.json")
        self.job.store.put(manifest, b"{}")
        entry = {
            "step": step,
            "version": version,
            "manifest_key": urls.parse(manifest).key,
            "bytes": 10,
            "time": time.time(),
        }
        self.job.store.put(self.head_url(task), json.dumps({"checkpoints": [entry]}).encode())
        self.client.committed(
            task.stage,
            CheckpointCommitted(
                generation=generation,
                step=step,
                version=version,
                bytes=10,
                manifest_key=entry["manifest_key"],  # type: ignore[arg-type]
            ),
        )

    def head_url(self, task: TrainerTask) -> str:
        return urls.join(task.run_url, f"stages/{task.stage}/checkpoints/head.json")

    def resume_step(self, task: TrainerTask) -> int:
        if not self.job.store.exists(self.head_url(task)):
            return 0
        step: int = json.loads(self.job.store.get(self.head_url(task)))["checkpoints"][-1]["step"]
        return step

    def done(self, task: TrainerTask, generation: int, step: int) -> None:
        export = urls.join(task.run_url, f"stages/{task.stage}/export/")
        self.client.done(task.stage, StageDone(generation=generation, step=step, export_url=export))


class Supervisor(Pod):
    """A trainer pod whose rank has nothing to say to the coordinator."""

    def __init__(self, job: Job, name: str) -> None:
        super().__init__(job, name, "trainer")
        self.state = PodState.STARTING

    def act(self) -> None:
        running = self.reply.run and self.reply.world is not None
        self.generation = self.reply.world.generation if running and self.reply.world else 0
        self.state = PodState.READY if running else PodState.STARTING
        self.ended.wait(0.02)


class Operator(threading.Thread):
    """Walks the stages and restarts the trainer in place, as the operator does."""

    def __init__(self, job: Job, spec: Spec) -> None:
        super().__init__(daemon=True, name="operator")
        self.job, self.spec = job, spec
        self.stage, self.generation, self.drain = 0, 1, False
        self.ended = threading.Event()
        self.complete = threading.Event()
        self.seen: list[CoordinatorState] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.ended.is_set():
                self.once()
                self.ended.wait(0.02)
        except BaseException as error:
            self.error = error
            raise

    def once(self) -> None:
        state = self.job.safe_state()
        if state is None:
            return
        wanted = self.job.desired(self.spec, self.stage, self.generation, self.drain)
        if state.desired_digest != wanted.digest:
            self.job.want(wanted)
            return
        self.seen.append(state)
        if state.trainer_failure is not None:
            assert state.trainer_failure.generation == self.generation
            self.generation += 1
        elif state.stages[self.stage].phase == "Complete":
            if self.stage + 1 == len(state.stages):
                self.complete.set()
                self.ended.set()
            else:
                self.stage += 1


@contextmanager
def crew(job: Job, spec: Spec, *pods: Pod) -> Iterator[Operator]:
    """Runs operator and pods; fails when one of them does."""
    operator = Operator(job, spec)
    for thread in (operator, *pods):
        thread.start()
    try:
        yield operator
    finally:
        for thread in (operator, *pods):
            thread.ended.set()
        for thread in (operator, *pods):
            thread.join(30)
    errors = [thread.error for thread in (operator, *pods) if thread.error is not None]
    assert not errors, errors
    assert b"Traceback" not in job.log.read_bytes(), job.log.read_text()


def everybody(job: Job) -> tuple[Trainer, Supervisor, Worker, Worker, UserPod]:
    return (
        Trainer(job),
        Supervisor(job, "job-trainer-1"),
        Worker(job, "job-rollout-0", 1),
        Worker(job, "job-rollout-1", 2),
        UserPod(job, "job-user-0", "user"),
    )


def kinds(leases: list[Lease]) -> set[EpisodeKind]:
    return {lease.kind for lease in leases}
