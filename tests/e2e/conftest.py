"""A devcluster with the operator installed, shared by all end-to-end tests of a session."""

import copy
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3
import yaml

from sea_devcluster.cluster import DevCluster, Options
from sea_devcluster.demo import job as demo_job
from sea_devcluster.demo import object_store
from sea_devcluster.demo import run as demo_run
from sea_devcluster.demo.kubectl import Kubectl, job_reader
from sea_devcluster.demo.object_store import RunObjects
from sea_devcluster.demo.target import devcluster_target
from sea_devcluster.nodes import NAMES, REPOSITORY
from sea_testing import waiting
from sea_testing.tau2 import DATA as TAU2
from sea_testing.tau2 import needs_data

ROOT = Path(__file__).parents[2]
HANG_S = 1800.0
"""Far beyond what a whole job takes where ten others run."""
DATA = ["shop", "--seed", "0", "--dialogues", "200", "--train-tasks", "64", "--test-tasks", "16"]


class E2E:
    """A cluster to run jobs on and to break things in."""

    registry = "team/"
    """Under this one the images are known as well, as if somebody had pushed them."""

    def __init__(self, cluster: DevCluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.target = devcluster_target(cluster)
        self.kubectl = Kubectl(self.target.kubectl, self.target.kubeconfig)
        self.data = folder / "data"
        demo_run.install(self.kubectl, self.target)
        demo_job.generate(DATA, self.data)

    def manifest(self, name: str, stages: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
        """examples/tiny.yaml under another name, with other stages and its own place in S3."""
        job = demo_job.load(ROOT / "examples" / "tiny.yaml", self.target.server)
        old, new = job["spec"]["storage"]["url"], f"s3://sea/{name}"
        job = yaml.safe_load(yaml.safe_dump(job).replace(old + "/", new + "/"))
        job["metadata"]["name"] = name
        job["spec"] |= {"stages": stages, **spec}
        job["spec"]["storage"]["url"] = new
        return copy.deepcopy(job)

    def upload(self, manifest: dict[str, Any]) -> None:
        object_store.upload(self.data, manifest, self.target.server)

    def put(self, job: str, name: str, body: bytes) -> None:
        """One more file among a job's data."""
        object_store.client(self.target.server).put_object(
            Bucket="sea", Key=f"{job}/data/{name}", Body=body
        )

    def submit(self, manifest: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        """Applies namespace, credentials and job, and returns a function that reads the job."""
        demo_run.submit(self.kubectl, manifest, self.target)
        return self.reader(manifest)

    def prepare(self, manifest: dict[str, Any]) -> None:
        """Namespace and credentials only."""
        demo_run.prepare(self.kubectl, manifest, self.target)

    def edit(self, manifest: dict[str, Any]) -> None:
        """Applies the job alone, as a user would who corrects it."""
        self.kubectl.apply_object(manifest)

    def reader(self, manifest: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        namespace, name = demo_job.namespace(manifest), manifest["metadata"]["name"]
        return _patient(job_reader(self.target.kubeconfig, namespace, name))

    def delete(self, manifest: dict[str, Any]) -> None:
        """Waits until it is gone."""
        named = ("seajob", manifest["metadata"]["name"], "-n", demo_job.namespace(manifest))
        self.kubectl.run("delete", *named, "--wait=false")
        _wait_for("its deletion", lambda: not self.kubectl.run("get", *named, "--ignore-not-found"))

    def objects(self, status: dict[str, Any]) -> RunObjects:
        return RunObjects(status["runUrl"], self.target.server)

    def processes(self, job: str, program: str) -> list[psutil.Process]:
        """Processes inside a job's pods whose command line names a program.

        Known by their object store: another session may run a job of the same name.
        """
        wanted = {"SEA_JOB": job, "AWS_ENDPOINT_URL": self.target.server.endpoint}
        return [process for process in psutil.process_iter() if _runs(process, wanted, program)]

    def operators(self) -> list[psutil.Process]:
        """Operator processes below this cluster's node."""
        agent = self.cluster.node.daemon.process
        assert agent is not None
        below = psutil.Process(agent.pid).children(recursive=True)
        return [p for p in below if _command(p)[1:3] == ["-m", "sea_operator"]]

    def pods(self, job: str) -> list[dict[str, Any]]:
        selector = f"sea-operator.io/job={job}"
        items: list[dict[str, Any]] = self.kubectl.get("pods", "-A", "-l", selector)["items"]
        return items


def _patient(read: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Asks again where the API server is too busy to answer in time."""

    def attempt() -> dict[str, Any] | None:
        try:
            return read()
        except urllib3.exceptions.HTTPError:
            return None

    return lambda: waiting.wait_for("an answer of the API server", attempt)


def _command(process: psutil.Process) -> list[str]:
    """Empty where it has ended meanwhile: pods' probes come and go."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


def _runs(process: psutil.Process, variables: dict[str, str], program: str) -> bool:
    try:
        command = process.cmdline()
        inside = bool(command) and "bwrap" not in command[0] and program in " ".join(command)
        return inside and variables.items() <= process.environ().items()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


@pytest.fixture(scope="session")
def e2e(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[E2E]:
    """One devcluster for the session; only the logs of a failed run are left afterwards."""
    images = tuple(f"{E2E.registry}{REPOSITORY}/{name}:dev" for name in NAMES)
    cluster = DevCluster(f"e2e-{os.getpid()}", options=Options(extra_images=images))
    cluster.up()
    try:
        yield E2E(cluster, tmp_path_factory.mktemp("e2e"))
    finally:
        cluster.down(keep_logs=request.session.testsfailed > 0)


def _wait_for(what: str, probe: Callable[[], Any]) -> Any:
    return waiting.wait_for(what, probe, HANG_S, every=0.3)


@pytest.fixture(scope="session")
def wait_for() -> Callable[[str, Callable[[], Any]], Any]:
    """Waits for a condition, never for a time."""
    return _wait_for


def _condition(job: dict[str, Any], kind: str) -> dict[str, Any]:
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] == kind:
            found: dict[str, Any] = condition
            return found
    return {"status": "Unknown", "reason": "", "message": ""}


@pytest.fixture(scope="session")
def condition() -> Callable[[dict[str, Any], str], dict[str, Any]]:
    """A condition of a job, status Unknown where it has none."""
    return _condition


@pytest.fixture(scope="session")
def tau2() -> Path:
    """tau2-bench's data; a test that takes them also has `needs_data`'s mark."""
    if needs_data.args[0]:
        pytest.skip(needs_data.kwargs["reason"])
    return TAU2
