"""Every node's agent bounds the logs of all of the cluster's daemons."""

import logging
from pathlib import Path
from typing import Any

import pytest

from sea_devcluster.cluster import DevCluster
from sea_devcluster.node.config import NodeConfig

pytestmark = pytest.mark.cluster


def test_an_agent_cuts_logs_that_are_too_long(
    namespace: Any, make_agent: Any, tmp_path: Path
) -> None:
    """And the node continues to run."""
    path = tmp_path / "kube-apiserver.log"
    path.write_text("x" * 100 + "\n")
    long = tmp_path / "etcd.log"
    long.write_text("a line\n" * 1000)
    agent = make_agent("cutter", component_logs=str(tmp_path), component_log_bytes=4096)
    agent.start()
    namespace.agent = agent
    namespace.until_true(lambda: long.stat().st_size == 0, "the cut", seconds=100)
    assert (tmp_path / "etcd.log.old").exists()
    assert path.stat().st_size == 101
    agent.stop()


def test_a_clusters_nodes_bound_its_logs_and_each_step_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A busy machine takes a minute for a start, so each step is announced."""
    caplog.set_level(logging.INFO, "sea_devcluster")
    with DevCluster("logs", state_root=tmp_path, persistent=False) as cluster:
        node = cluster.node
        text = node.folder.with_suffix(".json").read_text()
        config = NodeConfig.model_validate_json(text)
        assert config.component_logs == tmp_path / "logs" / "logs"
        assert (config.component_logs / "kube-apiserver.log").exists()
    steps = (
        "Starting the control plane",
        "Starting 1 node ...",
        "Stopping the pods",
        "Stopping nodes",
    )
    assert [step for step in steps if step not in caplog.text] == []
