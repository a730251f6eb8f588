"""A real control plane, a real node agent in its own process, and a namespace per test."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sea_devcluster.api import KubeApi
from sea_devcluster.controlplane import ControlPlane
from sea_devcluster.credentials import issue_node
from sea_devcluster.errors import ApiError
from sea_devcluster.node.process import recorded_main_pid
from sea_devcluster.nodes import grant_rights, hidden_roots
from sea_devcluster.subnets import claim, release

Json = dict[str, Any]
IMAGE = "test/python"
ALONE = [{"key": "test", "value": "alone", "effect": "NoSchedule"}]
"""The taint of a node of one test: else the scheduler would put later pods on it, too, for as long
as the controllers haven't noticed that its agent was stopped. A pod for it says `nodeName`."""
PATIENCE = 120.0
"""Seconds that end a wait for what has hung: a busy machine may take long over anything."""


@dataclass
class AgentProcess:
    """A node agent as the devcluster starts it."""

    config: Json
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        return Path(self.config["root"])

    def start(self) -> None:
        path = self.folder / "agent.json"
        path.write_text(json.dumps(self.config))
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sea_devcluster.node", "--config", str(path)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=PATIENCE)
            self.process = None

    def main_pid(self, pod: Json, container: str) -> int | None:
        return recorded_main_pid(
            self.root / "pods" / pod["metadata"]["uid"] / "containers" / container
        )

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()


@dataclass
class Namespace:
    """A namespace of one test, with the few calls that the tests need."""

    api: KubeApi
    name: str
    agent: AgentProcess
    kubectl_command: list[str] = field(default_factory=list)

    def path(self, kind: str, name: str = "") -> str:
        group = {"statefulsets": "/apis/apps/v1", "endpointslices": "/apis/discovery.k8s.io/v1"}
        root = group.get(kind, "/api/v1")
        return f"{root}/namespaces/{self.name}/{kind}" + (f"/{name}" if name else "")

    def create(self, kind: str, body: Json) -> Json:
        return self.api.request("POST", self.path(kind), body)

    def get(self, kind: str, name: str) -> Json:
        return self.api.get(self.path(kind, name))

    def find(self, kind: str, name: str) -> Json | None:
        try:
            return self.get(kind, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def delete(self, kind: str, name: str, **options: Any) -> None:
        self.api.request("DELETE", self.path(kind, name), options or None)

    def run(self, name: str, *containers: Json, **spec: Any) -> Json:
        return self.create("pods", pod(name, *containers, **spec))

    def until(
        self, kind: str, name: str, condition: Callable[[Json], Any], seconds: float = PATIENCE
    ) -> Json:
        """The object once the condition holds; fails showing its status and the agent's log."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.find(kind, name)
            if found is not None and condition(found):
                return found
            time.sleep(0.05)  # polling a real API server for a condition
        status = json.dumps((found or {}).get("status"), indent=1)
        pytest.fail(f"{kind}/{name} never got there: {status}\n{self.agent.log()[-3000:]}")

    def until_gone(self, kind: str, name: str, seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while self.find(kind, name) is not None:
            assert time.monotonic() < deadline, f"{kind}/{name} is still there: {self.agent.log()}"
            time.sleep(0.05)

    def until_true(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"{what} never happened: {self.agent.log()[-3000:]}"
            time.sleep(0.05)
        return value

    def running(self, name: str) -> Json:
        return self.until("pods", name, is_ready)

    def logs(self, name: str, *options: str) -> str:
        """`kubectl logs` through the API server."""
        done = self.kubectl("logs", name, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kubectl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self.kubectl_command, "--namespace", self.name, *arguments]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=PATIENCE
        )

    def output(self, name: str, expected: str, *options: str) -> str:
        """The logs once they contain `expected`."""

        def read() -> str | None:
            done = self.kubectl("logs", name, *options)
            return done.stdout if done.returncode == 0 and expected in done.stdout else None

        return self.until_true(read, f"{expected!r} in the logs of {name}")


def pod(name: str, *containers: Json, **spec: Any) -> Json:
    labels = spec.pop("labels", {"app": name})
    spec.setdefault("terminationGracePeriodSeconds", 2)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": list(containers), **spec},
    }


def shell(script: str, **fields: Any) -> Json:
    """A container that runs a shell script."""
    command = ["sh", "-c", script]
    return {"name": "main", "image": IMAGE, "command": command, **fields}


def python(script: str, **fields: Any) -> Json:
    """A container that runs a Python program, its output unbuffered."""
    return {"name": "main", "image": IMAGE, "command": ["python", "-u", "-c", script], **fields}


def is_ready(one: Json) -> bool:
    conditions = one.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def container_status(one: Json, name: str = "main") -> Json:
    statuses = one.get("status", {}).get("containerStatuses") or []
    return next((status for status in statuses if status["name"] == name), {})


@pytest.fixture(scope="session")
def make_agent(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., AgentProcess]]:
    """Makes configured node agents, each with its own subnet."""
    made: list[tuple[AgentProcess, Path]] = []
    grant_rights(control_plane.api)

    def make(name: str, **changes: Any) -> AgentProcess:
        folder = tmp_path_factory.mktemp(name)
        subnet = claim(folder)
        identity = issue_node(control_plane.layout, name, subnet.node(1))
        config = {
            "name": f"test-{os.getpid()}",
            "node_name": name,
            "kubeconfig": str(identity.kubeconfig),
            "root": str(folder / "root"),
            "address": subnet.node(1),
            "kubelet_port": 10250,
            "pod_subnet": subnet.pods(1),
            "images": {
                IMAGE: {
                    "path": [str(Path(sys.executable).parent)],
                    "env": {"FROM": "image"},
                    "mounts": hidden_roots([Path(sys.prefix)]),
                }
            },
            "hosts": {"extra.example": "127.9.9.9"},
            "api_host": control_plane.layout.address,
            "api_port": control_plane.layout.ports.api,
            "ca_file": str(identity.ca_file),
            "cert_file": str(identity.serving.certificate),
            "key_file": str(identity.serving.key),
            "require_client_certificate": True,
            "retry_seconds": 0.2,
            "refresh_seconds": 1.0,
            "crash_backoff_start": 0.5,
            "crash_backoff_reset": 3600.0,
            "labels": {"test/agent": name},
            "taints": ALONE,
            **changes,
        }
        agent = AgentProcess(config, folder)
        made.append((agent, folder))
        return agent

    yield make
    for agent, folder in made:
        agent.stop()
        release(folder)


@pytest.fixture(scope="session")
def agent(make_agent: Callable[..., AgentProcess]) -> AgentProcess:
    """The node that most tests share."""
    one = make_agent("shared", taints=[])
    one.start()
    return one


_numbers = itertools.count()


@pytest.fixture
def namespace(
    control_plane: ControlPlane, kube: KubeApi, agent: AgentProcess
) -> Iterator[Namespace]:
    """A fresh namespace with its ServiceAccount; deleted at the end."""
    name = f"test-{next(_numbers)}"
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    kube.request("POST", "/api/v1/namespaces", manifest)
    kubectl = [str(control_plane.kubectl), "--kubeconfig", str(control_plane.kubeconfig)]
    one = Namespace(kube, name, agent, kubectl)
    one.until_true(lambda: one.find("serviceaccounts", "default"), "the ServiceAccount")
    yield one
    kube.request("DELETE", f"/api/v1/namespaces/{name}")


class Helpers:
    """Builders and readers for the tests (fixtures are how they get them without imports)."""

    pod = staticmethod(pod)
    shell = staticmethod(shell)
    python = staticmethod(python)
    is_ready = staticmethod(is_ready)
    container_status = staticmethod(container_status)


@pytest.fixture(scope="session")
def helpers() -> type[Helpers]:
    return Helpers
