"""The demo's kubectl keeps what it remembers of a devcluster with that devcluster."""

from pathlib import Path

from sea_devcluster.demo.kubectl import Kubectl


def test_the_cache_of_discovery_goes_with_the_cluster(tmp_path: Path) -> None:
    """Each cluster left a folder of its address in ~/.kube/cache for ever."""
    said = Kubectl("echo", tmp_path / "kubeconfig").run("get", "nodes")
    assert f"--cache-dir {tmp_path / 'kubectl-cache'}" in said
    assert said.endswith("get nodes\n")
    assert Kubectl("echo", None).run("get", "nodes") == "get nodes\n"
