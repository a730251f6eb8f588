"""What runs in a cluster: one row for each component, for `status` and for tests."""

from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from sea_devcluster.cluster import DevCluster
from sea_devcluster.daemons import Daemon
from sea_devcluster.processes import ProcessId, descendants


@dataclass(frozen=True)
class Row:
    """One component."""

    component: str
    state: str
    """`running`, `dead` (it ended by itself) or `stopped`."""
    pid: int | None
    processes: int
    """With its children; a node's children are the pods."""
    memory_mb: int
    """Resident memory of all of them."""
    endpoint: str


def rows(cluster: DevCluster) -> list[Row]:
    """All components of a cluster, in the order of their start."""
    endpoints = _endpoints(cluster)
    return [_row(daemon, endpoints.get(daemon.name, "")) for daemon in cluster.daemons()]


def resident(processes: Iterable[ProcessId]) -> int:
    """Bytes of memory that these processes hold; those that have ended hold none."""
    total = 0
    for process in processes:
        try:
            total += psutil.Process(process.pid).memory_info().rss
        except psutil.Error:
            continue
    return total


def _row(daemon: Daemon, endpoint: str) -> Row:
    process = daemon.process
    if process is None:
        return Row(daemon.name, "stopped", None, 0, 0, endpoint)
    if not process.alive():
        return Row(daemon.name, "dead", process.pid, 0, 0, endpoint)
    family = [process, *descendants(process)]
    memory = resident(family) // 2**20
    return Row(daemon.name, "running", process.pid, len(family), memory, endpoint)


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
