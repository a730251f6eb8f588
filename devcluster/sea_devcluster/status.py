"""What runs in a cluster: one row per component, for `python -m sea_devcluster status`."""

from dataclasses import dataclass

import psutil

from sea_devcluster.cluster import DevCluster
from sea_devcluster.daemons import Daemon


@dataclass(frozen=True)
class Row:
    """One component."""

    component: str
    state: str
    """`running`, `dead` (it ended unexpectedly) or `stopped`."""
    pid: int | None
    processes: int
    """Number of processes with all descendants; a node's descendants are the pods."""
    memory_mb: int
    """Resident memory of all of these processes."""
    endpoint: str


def rows(cluster: DevCluster) -> list[Row]:
    """All components of a cluster, in start order."""
    endpoints = _endpoints(cluster)
    return [_row(daemon, endpoints.get(daemon.name, "")) for daemon in cluster.daemons()]


def _row(daemon: Daemon, endpoint: str) -> Row:
    identity = daemon.process
    if identity is None:
        return Row(daemon.name, "stopped", None, 0, 0, endpoint)
    process = identity.find()
    if process is None:
        return Row(daemon.name, "dead", identity.pid, 0, 0, endpoint)
    family = [process, *process.children(recursive=True)]
    memory_mb = sum(map(_resident, family)) // 2**20
    return Row(daemon.name, "running", identity.pid, len(family), memory_mb, endpoint)


def _resident(process: psutil.Process) -> int:
    """Bytes of resident memory; 0 if the process has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _endpoints(cluster: DevCluster) -> dict[str, str]:
    plane = cluster.plane
    try:
        layout, s3 = plane.layout, cluster.s3.endpoint
    except FileNotFoundError:  # stopped before it had ports
        return {}
    address = layout.address
    nodes = {n.name: f"{n.spec.address}, pods {n.spec.pod_subnet}" for n in cluster.nodes}
    return {
        "s3": s3,
        "etcd": layout.etcd_url,
        "kube-apiserver": layout.api_url,
        "kube-controller-manager": f"https://{address}:{layout.ports.controller_manager}",
        "kube-scheduler": f"https://{address}:{layout.ports.scheduler}",
        **nodes,
    }
