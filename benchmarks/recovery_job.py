"""The job of `make bench-recovery` on a devcluster of two nodes, and what can be done to it.

Used by `recovery.py` (one case after the other), `goodput.py` and `timeline.py`.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from sea_devcluster import interrupts
from sea_devcluster.cluster import DevCluster, Options
from sea_devcluster.demo import job as demo_job
from sea_devcluster.demo import object_store
from sea_devcluster.demo import run as demo_run
from sea_devcluster.demo.kubectl import Kubectl, job_reader, retry_outages
from sea_devcluster.demo.options import ROOT
from sea_devcluster.demo.target import devcluster_target
from sea_devcluster.errors import DemoError

NAMESPACE = "sea-demo"
DATA = ["shop", "--seed", "0", "--dialogues", "200", "--train-tasks", "64", "--test-tasks", "16"]
WAIT_SECONDS = 900.0
"""After which what is waited for counts as failed."""
POLL_SECONDS = 0.2
APART = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "labelSelector": {"matchLabels": {"sea-operator.io/role": "trainer"}},
                "topologyKey": "kubernetes.io/hostname",
            }
        ]
    }
}
RL = {
    "name": "rl",
    "type": "RL",
    "rl": {
        "steps": 100000,
        "promptsPerStep": 4,
        "trajectoriesPerPrompt": 4,
        "learningRate": 0.0001,
        "maxTokensPerTurn": 16,
        "maxTurns": 3,
        "filterConstantGroups": False,
    },
}


@contextmanager
def two_nodes(name: str) -> Iterator[DevCluster]:
    """A devcluster that goes with this program, also when it is interrupted."""
    interrupts.raise_on_signals()
    cluster = DevCluster(name, options=Options(nodes=2), persistent=False)
    cluster.up()
    try:
        yield cluster
    finally:
        cluster.down()


def manifest(
    server: object_store.ObjectServer, name: str, stages: Sequence[dict[str, Any]], **more: Any
) -> dict[str, Any]:
    """examples/tiny.yaml with these stages, a scripted user, and an elastic trainer whose pods are
    on different nodes; `more` are blocks of the spec."""
    job = demo_job.load(ROOT / "examples" / "tiny.yaml", server)
    job = json.loads(json.dumps(job).replace("s3://sea/tiny", f"s3://sea/{name}"))
    job["metadata"] |= {"name": name, "namespace": NAMESPACE}
    spec = job["spec"]
    spec["stages"] = list(stages)
    spec["userModel"] = {"engine": "Scripted"}
    spec["checkpoint"] |= {"everySteps": 1}
    spec["failurePolicy"] = {"budget": {"restarts": 1000}}
    spec["trainer"] |= {
        "replicas": 2,
        "parallelism": {},
        "elastic": {
            "minReplicas": 1,
            "maxReplicas": 2,
            # A pod that is only replaced is there again within this time.
            "giveUpSeconds": 20,
            "retrySeconds": 10,
            "stableSeconds": 2,
        },
        "template": {"patch": {"spec": {"affinity": APART}}},
    }
    for name_, block in more.items():
        spec[name_] = {**spec.get(name_, {}), **block}
    return dict(job)


@dataclass(frozen=True)
class Pods:
    """Pods of one role: those that the operator asks for, and those that are ready."""

    desired: int = 0
    ready: int = 0

    @property
    def up(self) -> bool:
        return self.ready >= self.desired


@dataclass(frozen=True)
class Seen:
    """What matters of one status."""

    time: float
    step: int = 0
    attempt: int = 0
    size: int = 0
    reward: float | None = None
    failure: str = ""
    roles: dict[str, Pods] = field(default_factory=dict)

    @staticmethod
    def of(job: dict[str, Any], now: float) -> "Seen":
        status = job.get("status", {})
        roles = {
            role: Pods(int(one.get("desired") or 0), int(one.get("ready") or 0))
            for role, one in status.get("roles", {}).items()
        }
        return Seen(
            now,
            int(status.get("step") or 0),
            int(status.get("trainerAttempt") or 0),
            roles.get("trainer", Pods()).desired,
            status.get("reward"),
            json.dumps(status.get("lastFailure")),
            roles,
        )

    def up(self, role: str) -> bool:
        return self.roles.get(role, Pods()).up


class Bench:
    """The job, and what is done to it."""

    def __init__(
        self,
        cluster: DevCluster,
        folder: Path,
        name: str,
        *stages: dict[str, Any],
        data: Sequence[str] = DATA,
        **spec: Any,
    ) -> None:
        self.cluster, self.name = cluster, name
        self.target = devcluster_target(cluster)
        self.kubectl = Kubectl(self.target.kubectl, self.target.kubeconfig)
        self.timeline: list[Seen] = []
        demo_run.install(self.kubectl, self.target)
        demo_job.generate(list(data), folder)
        job = manifest(self.target.server, name, stages, **spec)
        object_store.upload(folder, job, self.target.server)
        demo_run.submit(self.kubectl, job, self.target)
        fetch = job_reader(self.target.kubeconfig, NAMESPACE, name)
        self.read = retry_outages(fetch, time.monotonic, time.sleep)

    def look(self) -> Seen:
        seen = Seen.of(self.read(), time.monotonic())
        last = self.timeline[-1] if self.timeline else None
        if last is None or (last.size, last.step, last.attempt) != (
            seen.size,
            seen.step,
            seen.attempt,
        ):
            self.timeline.append(seen)
        return seen

    def until(
        self, what: str, holds: Callable[[Seen], bool], seconds: float = WAIT_SECONDS
    ) -> Seen:
        """Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            seen = self.look()
            if holds(seen):
                return seen
            time.sleep(POLL_SECONDS)
        status = json.dumps(self.read().get("status", {}))
        raise TimeoutError(f"{what} within {seconds:.0f} s: the last status is {status}")

    def log_times(self, attempt: int, words: str) -> list[float]:
        """When the processes of an attempt logged a line with these words, in unix seconds."""
        found: list[float] = []
        for ordinal in range(2):
            try:
                log = self.kubectl.run("-n", NAMESPACE, "logs", f"{self.name}-trainer-{ordinal}")
            except DemoError:  # the pod is gone, or not there yet
                continue
            found += list(times_of(log.splitlines(), attempt, words))
        return found

    # What is done to it.

    def kill(self, program: str) -> None:
        """SIGKILL to a process of the job's pods. Raises RuntimeError if there is none."""
        wanted = {"SEA_JOB": self.name, "AWS_ENDPOINT_URL": self.target.server.endpoint}
        for process in psutil.process_iter():
            try:
                command = " ".join(process.cmdline())
                inside = program in command and "bwrap" not in command
                if inside and wanted.items() <= process.environ().items():
                    process.kill()
                    return
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        raise RuntimeError(f"no process of the job runs {program}")

    def kill_operator(self) -> None:
        """SIGKILL to the operator's process, which runs on one of the nodes."""
        for node in self.cluster.nodes:
            agent = node.daemon.process
            below = psutil.Process(agent.pid).children(recursive=True) if agent else []
            for process in below:
                try:
                    if process.cmdline()[1:3] == ["-m", "sea_operator"]:
                        process.kill()
                        return
                except psutil.NoSuchProcess:
                    continue
        raise RuntimeError("no node runs the operator")

    def delete_pod(self, pod: str, *more: str) -> None:
        self.kubectl.run("delete", "pod", "-n", NAMESPACE, pod, "--wait=false", *more)

    def lose_node(self) -> None:
        """No pod can be placed on the node of the second trainer pod any more."""
        pod = self.kubectl.get("pod", "-n", NAMESPACE, f"{self.name}-trainer-1")
        node = pod["spec"].get("nodeName")
        if node is None:
            raise RuntimeError("the second trainer pod is on no node")
        self.kubectl.run("cordon", str(node))
        self.delete_pod(f"{self.name}-trainer-1", "--force", "--grace-period=0")

    def return_node(self) -> None:
        for node in self.cluster.nodes:
            self.kubectl.run("uncordon", node.name)


def times_of(lines: list[str], attempt: int, words: str) -> Iterator[float]:
    """Unix seconds of an attempt's JSON lines whose message has these words. Pure."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # a library's own line
            continue
        of_attempt = isinstance(event, dict) and event.get("attempt") == attempt
        if of_attempt and words in str(event.get("message")):
            yield datetime.fromisoformat(event["timestamp"]).timestamp()
