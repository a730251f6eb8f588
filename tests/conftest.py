"""Fixtures for all tests: a real control plane, once per session, and the CRD installed in it."""

import gc
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from aiohttp import web

from sea_devcluster.api import KubeApi
from sea_devcluster.binaries import locate
from sea_devcluster.controlplane import ControlPlane
from sea_devcluster.s3 import S3Server
from sea_runtime.store.s3 import ObjectStore
from sea_testing.chat_server import ChatServer
from sea_testing.crd_install import PATIENCE, install_crd
from sea_testing.fixture_types import Kubectl
from sea_testing.loopback import silent_port
from sea_testing.served import served
from sea_testing.waiting import HANG_S

ROOT = Path(__file__).parent.parent

# Neither the machine's pace nor chance decides on a test: `--hypothesis-profile=default` searches.
hypothesis.settings.register_profile(
    "sea",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("sea")


def pytest_collection_finish() -> None:
    """The thousands of modules and tests that live to the end need no more looks: a fifth less."""
    gc.freeze()
    gc.set_threshold(200_000, 50, 50)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real control plane without nodes; ends with the session."""
    if locate() is None:
        pytest.fail("The control plane's programs are missing: run `make setup`.", pytrace=False)
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real object store (SeaweedFS) with the buckets of all tests; ends with the session."""
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        for bucket in ("data", "runs", "things"):
            server.create_bucket(bucket)
        yield server


@pytest.fixture
def store(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The server as pods and commands use it: by the environment."""
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    return ObjectStore(retry_timeout=HANG_S)


@pytest.fixture(scope="session")
def kubeconfig(control_plane: ControlPlane) -> Path:
    """Kubeconfig of the control plane's administrator."""
    return control_plane.kubeconfig


@pytest.fixture(scope="session")
def kube(control_plane: ControlPlane) -> KubeApi:
    """Plain requests to the API server, as administrator."""
    plane = control_plane
    return KubeApi(plane.url, plane.ca_file, plane.token, timeout=PATIENCE)


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """`kubectl(*arguments, stdin="")` -> its output; fails the test where kubectl fails."""

    def run(*arguments: str, stdin: str = "") -> str:
        command = [str(control_plane.kubectl), "--kubeconfig", str(control_plane.kubeconfig)]
        done = subprocess.run(
            [*command, *arguments],
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def crd(kube: KubeApi) -> dict[str, Any]:
    """The CRD as the server stores it, once it is Established, serves requests and is described."""
    text = (ROOT / "crds" / "sea-operator.io_seatrainingjobs.yaml").read_text()
    return install_crd(kube, yaml.safe_load(text))


@pytest.fixture
async def chat_server() -> AsyncIterator[ChatServer]:
    """A running `ChatServer`."""
    server = ChatServer()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.handle)
    async with served(app) as url:
        server.url = f"{url}/v1"
        yield server


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port of 127.0.0.1 on which nobody listens, and nobody will."""
    with silent_port() as port:
        yield port
