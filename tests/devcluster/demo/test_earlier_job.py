"""A second demo on the user's own cluster never shows the first run's result."""

import io
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from sea_devcluster.controlplane import ControlPlane
from sea_devcluster.demo import job
from sea_devcluster.demo import run as demo_run
from sea_devcluster.demo.kubectl import Kubectl
from sea_devcluster.demo.object_store import ObjectServer
from sea_devcluster.demo.options import parse
from sea_devcluster.demo.target import Target
from sea_devcluster.errors import DemoError

NOBODY = ObjectServer("http://127.0.0.1:9", "http://127.0.0.1:9", "a", "b")


def _job(*conditions: tuple[str, str], **metadata: Any) -> dict[str, Any]:
    told = [{"type": kind, "status": status} for kind, status in conditions]
    return {"metadata": metadata, "status": {"conditions": told}}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (_job(("Complete", "True")), "is complete"),
        (_job(("Complete", "False"), ("Failed", "True")), "has failed"),
        (_job(("Complete", "False")), "is not over"),
        ({"metadata": {}}, "is not over"),
        (_job(("Complete", "True"), deletionTimestamp="now"), "is being deleted"),
    ],
)
def test_the_refusal_says_what_is_there_and_how_to_make_room(
    found: dict[str, Any], words: str
) -> None:
    """Whatever state the earlier job is in."""
    sentence = job.earlier_job_message(found, "sea-demo", "tiny")
    assert words in sentence
    assert "`kubectl -n sea-demo delete seajob tiny`" in sentence


@pytest.mark.cluster
def test_a_second_run_is_refused_before_it_changes_anything(
    control_plane: ControlPlane,
    crd: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is installed or uploaded; once the job is deleted, a run is possible again."""
    kubectl = Kubectl(str(control_plane.kubectl), control_plane.kubeconfig)
    manifest = yaml.safe_load(parse([]).job.read_text())
    manifest["metadata"]["namespace"] = "demo-twice"
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(manifest))
    options = parse(["--plain", "--cluster", "kubeconfig", "--job", str(path)])
    target = Target(control_plane.kubeconfig, str(control_plane.kubectl), NOBODY)
    monkeypatch.setattr(demo_run, "install", _must_not_be_reached)
    job.require_no_earlier_job(kubectl, manifest)  # not even the namespace is there
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo-twice"}}
    kubectl.apply_object(space)
    kubectl.apply_object(manifest)
    with pytest.raises(DemoError, match="tiny of an earlier run"):
        demo_run.run(options, target, Console(file=io.StringIO()), time.monotonic())
    kubectl.run("-n", "demo-twice", "delete", "seajob", "tiny")
    job.require_no_earlier_job(kubectl, manifest)
    kubectl.run("delete", "namespace", "demo-twice", "--wait=false")


@pytest.mark.cluster
def test_a_cluster_without_the_crd_has_no_earlier_job(tmp_path: Path) -> None:
    """kubectl calls an unknown kind an error."""
    with ControlPlane(tmp_path / "plane", components=("etcd", "kube-apiserver")) as plane:
        kubectl = Kubectl(str(plane.kubectl), plane.kubeconfig)
        manifest = {"metadata": {"name": "tiny", "namespace": "sea-demo"}}
        with pytest.raises(DemoError, match="the server doesn't have a resource type"):
            kubectl.get("seatrainingjobs.sea-operator.io", "-n", "sea-demo")
        job.require_no_earlier_job(kubectl, manifest)


def _must_not_be_reached(*_: object) -> None:
    raise AssertionError("the second run went on")
