"""`make bench-late-engine`: examples/tensor-parallel.yaml with a late engine and a stopped trainer.

One job on a devcluster: an engine of TP 2 next to one of TP 1, a trainer of TP 2 x EP 2. In its RL
stage all training processes are stopped (SIGSTOP) and a second engine is added, which must reach
the newest version from the first one; then the trainer goes on, and the job must complete. Another
job has `weights.transport: ObjectStore`, so that its engines share nothing with the trainer but S3.
JOBS=late or JOBS=store runs one of them. Prints what happens; the last line is one JSON object.
"""

import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from sea_devcluster.cluster import DevCluster, Options
from sea_devcluster.demo import job as demo_job
from sea_devcluster.demo import object_store
from sea_devcluster.demo import run as demo_run
from sea_devcluster.demo.kubectl import Kubectl, job_reader
from sea_devcluster.demo.options import ROOT
from sea_devcluster.demo.target import devcluster_target
from sea_devcluster.errors import DemoError
from sea_devcluster.interrupts import raise_on_signals

EXAMPLE, NAMESPACE = "tensor-parallel", "sea-demo"
DATA = ["shop", "--seed", "0", "--dialogues", "200", "--train-tasks", "64", "--test-tasks", "16"]
WAIT_SECONDS = 1200.0
POLL_SECONDS = 1.0
SERVED = re.compile(r"The engine serves version (\d+): .*transport='(\w+)'")


class Job:
    """One run of examples/EXAMPLE.yaml, with some fields of its spec replaced."""

    def __init__(
        self, cluster: DevCluster, folder: Path, name: str, example: str = EXAMPLE, **spec: Any
    ) -> None:
        self.name, self.target = name, devcluster_target(cluster)
        self.kubectl = Kubectl(self.target.kubectl, self.target.kubeconfig)
        found = demo_job.load(ROOT / "examples" / f"{example}.yaml", self.target.server)
        found["metadata"]["name"] = name
        found["spec"] |= spec
        job = yaml.safe_load(
            re.sub(rf"s3://sea/{example}\b", f"s3://sea/{name}", yaml.safe_dump(found))
        )
        object_store.upload(folder, job, self.target.server)
        demo_run.submit(self.kubectl, job, self.target)
        self._read = job_reader(self.target.kubeconfig, NAMESPACE, name)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self._read().get("status", {})
        return found

    def until(self, what: str, holds: Callable[[dict[str, Any]], Any]) -> float:
        """Seconds until it holds.

        Raises:
            TimeoutError, RuntimeError: it takes too long, or the job fails; with its status.
        """
        started = time.monotonic()
        while (seconds := time.monotonic() - started) < WAIT_SECONDS:
            if holds(status := self.status()):
                print(f"  {self.name}: {what} after {seconds:.0f} s", flush=True)
                return round(seconds, 1)
            if is_true(status, "Failed"):
                raise RuntimeError(f"{self.name} has failed: {status}")
            time.sleep(POLL_SECONDS)
        raise TimeoutError(f"{self.name}: {what} within {WAIT_SECONDS:.0f} s; {status}")

    def adopted(self, pod: str) -> list[tuple[int, str]]:
        """(version, transport) of everything that an engine has adopted; empty before its start."""
        return [(int(one[1]), one[2]) for one in SERVED.finditer(self._log(pod, "worker"))]

    def newest_adopted(self, pod: str) -> int:
        """-1 before the first."""
        return max((version for version, _ in self.adopted(pod)), default=-1)

    def warnings(self, pod: str, container: str) -> None:
        """Prints what went wrong there."""
        for line in self._log(pod, container).splitlines():
            if '"warning"' in line:
                print(f"    {pod}: {line[:400]}", flush=True)

    def _log(self, pod: str, container: str) -> str:
        try:
            name = f"{self.name}-{pod}"
            return self.kubectl.run("-n", NAMESPACE, "logs", name, "-c", container)
        except DemoError:  # the pod or its container is not there yet
            return ""

    def add_engine(self) -> None:
        self.kubectl.run("-n", NAMESPACE, "scale", "seatrainingjob", self.name, "--replicas=2")

    @contextmanager
    def trainer_stopped(self) -> Iterator[None]:
        stopped = [process for process in psutil.process_iter() if self._trains(process)]
        if not stopped:
            raise RuntimeError(f"{self.name} has no training processes")
        _signal(stopped, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(stopped, signal.SIGCONT)

    def _trains(self, process: psutil.Process) -> bool:
        try:
            command, variables = process.cmdline(), process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False
        return (
            any(part.startswith("sea_runtime.trainer") for part in command)
            and "bwrap" not in command[0]
            and variables.get("SEA_JOB") == self.name
            and variables.get("AWS_ENDPOINT_URL") == self.target.server.endpoint
        )


def _signal(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def is_training(status: dict[str, Any]) -> bool:
    return status.get("stage") == "rl" and (status.get("weights") or {}).get("adoptedMax", 0) >= 3


def is_true(status: dict[str, Any], condition: str) -> bool:
    conditions = status.get("conditions", [])
    return any(one["type"] == condition and one["status"] == "True" for one in conditions)


def is_complete(status: dict[str, Any]) -> bool:
    return is_true(status, "Complete")


def late(cluster: DevCluster, folder: Path) -> dict[str, Any]:
    job = Job(cluster, folder, "late-engine")
    job.until("three versions of RL", is_training)
    with job.trainer_stopped():
        newest = job.status()["weights"]["published"]
        job.add_engine()
        seconds = job.until(
            "the late engine serves the newest version",
            lambda _: job.newest_adopted("rollout-1") >= newest,
        )
        # Before the trainer goes on. Usually one; more if the peer did not answer at once.
        adopted = job.adopted("rollout-1")
    job.until("Complete", is_complete)
    print(f"  the late engine: {job.adopted('rollout-1')}")
    job.warnings("rollout-1", "worker")
    job.warnings("coordinator-0", "coordinator")
    return {
        "late_engine_s": seconds,
        "late_transports": [transport for _, transport in adopted],
    }


def store(cluster: DevCluster, folder: Path) -> dict[str, Any]:
    job = Job(cluster, folder, "store-only", weights={"transport": "ObjectStore", "anchorEvery": 4})
    job.until("three versions of RL", is_training)
    job.until("Complete", is_complete)
    adopted = job.adopted("rollout-0")
    print(f"  the engine: {adopted}")
    return {"store_transports": sorted({transport for _, transport in adopted})}


JOBS = {"late": late, "store": store}


def main() -> int:
    raise_on_signals()  # the cluster is taken down whatever ends the program
    chosen = [name for name in (os.environ.get("JOBS") or ",".join(JOBS)).split(",") if name]
    cluster = DevCluster(f"late-engine-{os.getpid()}", options=Options(), persistent=False)
    cluster.up()
    found: dict[str, Any] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            target = devcluster_target(cluster)
            demo_run.install(Kubectl(target.kubectl, target.kubeconfig), target)
            demo_job.generate(DATA, Path(folder))
            for name in chosen:
                found |= JOBS[name](cluster, Path(folder))
    finally:
        cluster.down()
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
