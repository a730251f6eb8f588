"""`make demo CLUSTER=kubeconfig`: unreachable servers are reported before anything is applied."""

import os
from pathlib import Path

import pytest

from sea_devcluster.binaries import locate
from sea_devcluster.demo.object_store import ObjectServer
from sea_devcluster.demo.target import existing_cluster, require_object_server
from sea_devcluster.errors import DemoError
from sea_devcluster.ports import free_ports

GIVEN = {
    "SEA_REGISTRY": "registry.example/team",
    "SEA_TAG": "dev",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
}


def unused_address() -> str:
    return f"http://127.0.0.1:{free_ports(('127.0.0.1',), 1)[0]}"


def test_every_missing_variable_is_named() -> None:
    with pytest.raises(DemoError) as told:
        existing_cluster({"SEA_TAG": "dev"})
    for name in ("SEA_REGISTRY", "SEA_S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert name in str(told.value)
    assert "SEA_TAG" not in str(told.value)


@pytest.mark.cluster
def test_a_cluster_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kubectl's own advice at an apply is to turn validation off."""
    folder = locate()
    assert folder is not None
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(DemoError, match=r"doesn't answer .*KUBECONFIG\.$") as told:
        existing_cluster({**GIVEN, "SEA_S3_ENDPOINT": unused_address()})
    assert "validat" not in str(told.value)


@pytest.mark.parametrize("endpoint", [None, "minio"], ids=["nobody listens", "no address"])
def test_an_object_server_that_does_not_answer(endpoint: str | None) -> None:
    server = ObjectServer(endpoint or unused_address(), "", "a", "b")
    with pytest.raises(DemoError, match=r"SEA_S3_ENDPOINT=.* can't be reached .* address\.$"):
        require_object_server(server)
