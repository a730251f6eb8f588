"""The real control plane: starts, restarts, stops without leftovers."""

import subprocess
import sys
from pathlib import Path

import pytest

from sea_devcluster.components import API_SERVER, CONTROLLER_MANAGER, ETCD
from sea_devcluster.controlplane import ControlPlane
from sea_devcluster.errors import StartError
from sea_devcluster.ports import is_free
from sea_devcluster.processes import ProcessId
from sea_devcluster.waiting import wait_until

pytestmark = pytest.mark.cluster


def test_a_part_of_it_starts_stops_and_starts_again(tmp_path: Path) -> None:
    """Same ports, same keys, same objects after a restart; no process in between."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}}
    with ControlPlane(tmp_path, components=(ETCD, API_SERVER)) as plane:
        kubeconfig = plane.kubeconfig.read_text()
        plane.api.request("POST", "/api/v1/namespaces/default/configmaps", config)
        running = [daemon.process for daemon in plane.daemons.values()]
        plane.start()
        assert [daemon.process for daemon in plane.daemons.values()] == running
    assert not any(process.alive() for process in running if process)
    assert all(is_free(*pair) for pair in plane.silent_ports())
    with ControlPlane(tmp_path, components=(ETCD, API_SERVER)) as again:
        assert again.kubeconfig.read_text() == kubeconfig
        assert again.api.get("/api/v1/namespaces/default/configmaps/kept")


def test_the_whole_of_it_makes_service_accounts(control_plane: ControlPlane) -> None:
    """The controller manager works: each namespace gets its account and the authority's bundle."""
    api = control_plane.api
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "controlplane-test"}}
    api.apply("/api/v1/namespaces/controlplane-test", namespace)
    base = "/api/v1/namespaces/controlplane-test"

    def names(kind: str) -> list[str]:
        return [item["metadata"]["name"] for item in api.get(f"{base}/{kind}")["items"]]

    wait_until(
        lambda: bool(names("serviceaccounts") and names("configmaps")),
        what="the default service account and the bundle",
        timeout=120,
    )
    assert names("serviceaccounts") == ["default"]
    bundle = api.get(f"{base}/configmaps/kube-root-ca.crt")["data"]["ca.crt"]
    assert bundle.strip() == control_plane.ca_file.read_text().strip()


def test_a_killed_component_is_started_alone(tmp_path: Path) -> None:
    """Fault injection: the API server dies, etcd stays, the port is the old one."""
    with ControlPlane(tmp_path, components=(ETCD, API_SERVER)) as plane:
        etcd, url = plane.daemons[ETCD].process, plane.url
        plane.daemons[API_SERVER].kill()
        assert not plane.api.ready()
        plane.start_component(API_SERVER)
        wait_until(plane.api.ready, what="the API server", timeout=120)
        assert (plane.daemons[ETCD].process, plane.url) == (etcd, url)


def test_a_taken_port_of_a_known_cluster_is_reported_with_the_log(tmp_path: Path) -> None:
    """Clients know the port, so it doesn't change."""
    plane = ControlPlane(tmp_path, components=(ETCD,))
    plane.start()
    plane.stop()
    thief = ControlPlane(tmp_path / "thief", components=(ETCD,))
    (tmp_path / "thief" / "ports.json").write_text((tmp_path / "ports.json").read_text())
    with thief, pytest.raises(StartError, match="address already in use"):
        plane.start()
    plane.stop()


def test_nothing_outlives_a_program_that_is_killed(tmp_path: Path) -> None:
    """A crashed test run leaves no etcd behind."""
    script = (
        "import sys, pathlib, time\n"
        "from sea_devcluster.controlplane import ControlPlane\n"
        "plane = ControlPlane(pathlib.Path(sys.argv[1]), components=('etcd',)).start()\n"
        "print(plane.daemons['etcd'].process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        etcd = ProcessId.of(int(program.stdout.readline()))
        program.kill()
    assert etcd.wait(120.0)


def test_controllers_that_would_fail_on_loopback_are_off(control_plane: ControlPlane) -> None:
    """The API server refuses endpoints in 127.0.0.0/8; this fails when it no longer does."""
    assert CONTROLLER_MANAGER in control_plane.daemons
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "loopback"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.60.1.2"]}],
    }
    path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/loopback"
    with pytest.raises(Exception, match="may not be in the loopback range"):
        control_plane.api.apply(path, endpoints)
