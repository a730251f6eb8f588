"""`python -m sea_devcluster`: what people type, on real clusters."""

import json
from pathlib import Path
from typing import Any

import pytest

from sea_devcluster import cli
from sea_devcluster.cluster import DevCluster, Options
from sea_devcluster.errors import DevclusterError
from sea_devcluster.processes import ProcessId, descendants
from sea_devcluster.records import Capacity
from sea_devcluster.shutdown import mounts_below
from sea_devcluster.waiting import wait_until

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "sleeper"},
    "spec": {
        "automountServiceAccountToken": False,
        "containers": [
            {
                "name": "main",
                "image": "sea-operator/operator:dev",
                "command": [
                    "python",
                    "-c",
                    "import time; print('awake', flush=True); time.sleep(600)",
                ],
            }
        ],
    },
}


def _run(*arguments: str, expect: int = 0) -> None:
    assert cli.main(arguments) == expect


def _status(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    _run("status", "--json", *arguments)
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


@pytest.mark.cluster
def test_up_twice_status_logs_and_down_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole life of a cluster with a pod in it."""
    where = ("--name", "life", "--state-dir", str(tmp_path))
    _run("up", *where)
    try:
        assert f"Kubeconfig: {tmp_path / 'life' / 'kubeconfig'}" in capsys.readouterr().out
        before = _status(capsys, *where)
        assert {row["state"] for row in before["components"]} == {"running"}
        cluster = DevCluster("life", state_root=tmp_path)
        api = cluster.plane.api
        api.request("POST", "/api/v1/namespaces/default/pods", POD)
        pod = "/api/v1/namespaces/default/pods/sleeper"
        wait_until(
            lambda: api.get(pod)["status"].get("phase") == "Running", what="the pod", timeout=120
        )
        _run("up", *where)
        after = _status(capsys, *where)
        assert [r["pid"] for r in after["components"]] == [r["pid"] for r in before["components"]]
        _run("logs", "kube-apiserver", *where)
        _run("logs", "nobody", *where, expect=1)
        assert "has no log of 'nobody'" in capsys.readouterr().err
        family = _family(cluster)
    finally:
        _run("down", *where)
    assert len(family) > len(after["components"])
    assert [process for process in family if process.alive()] == []
    assert not (tmp_path / "life").exists()
    assert mounts_below(Path("/proc/self/mountinfo").read_text(), tmp_path) == []


@pytest.mark.cluster
def test_two_clusters_side_by_side(tmp_path: Path) -> None:
    """Same node names, own addresses; the end of one does not touch the other."""
    one = DevCluster("one", state_root=tmp_path, persistent=False)
    options = Options(nodes=2, capacity=Capacity("4", "8Gi"))
    two = DevCluster("two", state_root=tmp_path, options=options, persistent=False)
    with two:
        with one:
            assert one.plane.url != two.plane.url
            assert one.node.spec.pod_subnet != two.node.spec.pod_subnet
            assert _nodes(one) == ["node-1"]
            assert _nodes(two) == ["node-1", "node-2"]
            node = two.plane.api.get("/api/v1/nodes/node-2")
            assert node["status"]["allocatable"]["cpu"] == "4"
            one.s3.create_bucket("mine")
            assert "mine" not in _buckets(two)
        assert _nodes(two) == ["node-1", "node-2"]
        assert _buckets(two) == []


@pytest.mark.cluster
def test_a_first_up_that_fails_leaves_only_its_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a cluster is of no use; the logs say why."""
    cluster = DevCluster("half", state_root=tmp_path)

    def fail(_: object) -> None:
        raise DevclusterError("no nodes today")

    monkeypatch.setattr("sea_devcluster.cluster.grant_rights", fail)
    with pytest.raises(DevclusterError, match="no nodes today"):
        cluster.up()
    assert [path.name for path in (tmp_path / "half").iterdir()] == ["logs"]
    assert cluster.record is None


def test_a_cluster_that_does_not_exist_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command that creates it; `down` of nothing succeeds."""
    where = ("--name", "ghost", "--state-dir", str(tmp_path))
    _run("status", *where, expect=1)
    assert "up --name ghost" in capsys.readouterr().err
    _run("down", *where)
    assert "There is no devcluster ghost" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", "Demo", "a/b", "-a", "x" * 33])
def test_names_that_would_break_paths_are_refused(name: str) -> None:
    """The name is a folder and part of Kubernetes names."""
    with pytest.raises(DevclusterError, match="lower-case"):
        DevCluster(name)


def test_down_all_knows_only_this_checkouts_clusters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make clean` must not stop what another clone runs."""
    _run("down", "--all", "--state-dir", str(tmp_path))
    assert capsys.readouterr().out == ""


def test_down_all_works_where_a_cluster_was_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lock files are next to the clusters' folders."""
    where = ("--state-dir", str(tmp_path))
    _run("down", "--name", "before", *where)
    capsys.readouterr()
    _run("down", "--all", *where)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("variable", ["XDG_STATE_HOME", "HOME"])
def test_a_folder_that_cannot_be_made_is_one_sentence(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Root may write anywhere but in /proc."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv(variable, "/proc/nobody")
    _run("down", "--name", "nowhere", expect=1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "/proc/nobody" in lines[0]
    assert "XDG_STATE_HOME" in lines[0]


def test_a_user_without_a_home_folder_is_told_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A container's own user may have neither HOME nor an entry in /etc/passwd."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    _run("status", expect=1)
    assert "set HOME" in capsys.readouterr().err


def _family(cluster: DevCluster) -> list[ProcessId]:
    roots = [process for daemon in cluster.daemons() if (process := daemon.process)]
    return [*roots, *(child for root in roots for child in descendants(root))]


def _nodes(cluster: DevCluster) -> list[str]:
    return sorted(
        item["metadata"]["name"] for item in cluster.plane.api.get("/api/v1/nodes")["items"]
    )


def _buckets(cluster: DevCluster) -> list[str]:
    return [str(bucket.get("Name")) for bucket in cluster.s3.client().list_buckets()["Buckets"]]
