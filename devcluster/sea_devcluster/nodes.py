"""One node of a cluster: the agent's configuration, its process, its rights at the API server.

The agent itself is `sea_devcluster.node`; all that passes between it and this file is one JSON
file and the Node object's Ready condition.
"""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sea_devcluster.api import KubeApi
from sea_devcluster.controlplane import ControlPlane
from sea_devcluster.credentials import NODE_GROUP
from sea_devcluster.daemons import Command, Daemon
from sea_devcluster.errors import ApiError, StartError
from sea_devcluster.paths import private_folder, write_private
from sea_devcluster.ports import free_ports
from sea_devcluster.records import Capacity
from sea_devcluster.waiting import START_TIMEOUT_SECONDS, wait_until

STOP_GRACE_SECONDS = 20.0
_READ = ["get", "list", "watch"]
_ROLE = "devcluster-node"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


@dataclass(frozen=True)
class NodeSpec:
    """One node's place in its cluster."""

    cluster: str
    number: int
    address: str
    pod_subnet: str
    capacity: Capacity
    images: Mapping[str, Mapping[str, Any]]
    memory_root: Path
    hosts: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the Node object."""
        return f"node-{self.number}"


class Node:
    """A node agent as a daemon."""

    def __init__(self, plane: ControlPlane, spec: NodeSpec, *, persistent: bool) -> None:
        self.spec = spec
        self.name = spec.name
        self.folder = plane.state_dir / "nodes" / spec.name
        self.daemon = Daemon(plane.state_dir, spec.name)
        self._plane = plane
        self._persistent = persistent

    def launch(self) -> None:
        """Starts the agent and returns at once. Idempotent."""
        if self.daemon.alive():
            return
        private_folder(self.folder)
        private_folder(self.spec.memory_root)
        path = self.folder.with_suffix(".json")
        write_private(path, json.dumps(self._config(), indent=1))
        argv = [sys.executable, "-m", "sea_devcluster.node", "--config", str(path)]
        self.daemon.start(Command(self.name, argv, cwd=self.folder), persistent=self._persistent)

    def wait_ready(self) -> None:
        """Waits until the API server says that the node is Ready.

        Raises:
            StartError: The agent ended, or was not Ready in time.
        """
        api = self._plane.api
        try:
            wait_until(
                lambda: node_ready(api, self.name),
                what=f"{self.name} to become Ready (log: {self.daemon.log_file})",
                timeout=START_TIMEOUT_SECONDS,
                check=self._require_alive,
            )
        except StartError as error:
            raise StartError(self.daemon.with_tail(str(error))) from None

    def _require_alive(self) -> None:
        """No node becomes Ready at an API server that has ended."""
        for daemon in (*self._plane.daemons.values(), self.daemon):
            daemon.require_alive()

    def stop(self) -> None:
        """Ends the agent and every pod that is left on it. Idempotent."""
        self.daemon.stop(STOP_GRACE_SECONDS)
        shutil.rmtree(self.spec.memory_root, ignore_errors=True)

    def _config(self) -> dict[str, Any]:
        """The agent's configuration; fields as in `sea_devcluster.node.config.NodeConfig`."""
        layout, spec = self._plane.layout, self.spec
        identity = self._plane.issue_node(spec.name, spec.address)
        return {
            "name": spec.cluster,
            "node_name": spec.name,
            "kubeconfig": str(identity.kubeconfig),
            "root": str(self.folder),
            "address": spec.address,
            "kubelet_port": free_ports((spec.address,), 1)[0],
            "pod_subnet": spec.pod_subnet,
            "images": spec.images,
            "hosts": dict(spec.hosts),
            "api_host": layout.address,
            "api_port": layout.ports.api,
            "ca_file": str(identity.ca_file),
            "cert_file": str(identity.serving.certificate),
            "key_file": str(identity.serving.key),
            "require_client_certificate": True,
            "resources": spec.capacity.resources(),
            "memory_root": str(spec.memory_root),
            # One process cuts them; the first node is always there.
            "component_logs": str(self.daemon.log_file.parent) if spec.number == 1 else None,
        }


def node_ready(api: KubeApi, name: str) -> bool:
    """Whether the Node exists and its Ready condition is True."""
    try:
        node = api.get(f"/api/v1/nodes/{name}")
    except (ApiError, OSError):
        return False
    conditions = node.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def grant_rights(api: KubeApi) -> None:
    """Lets nodes read what cluster DNS would know: pods and Services of all namespaces."""
    metadata = {"name": _ROLE}
    rules = [
        {"apiGroups": [""], "resources": ["pods", "services", "namespaces"], "verbs": _READ},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ},
    ]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": metadata,
        "rules": rules,
    }
    api_group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": api_group, "kind": "ClusterRole", "name": _ROLE},
        "subjects": [{"apiGroup": api_group, "kind": "Group", "name": NODE_GROUP}],
    }
    api.apply(f"{_RBAC}/clusterroles/{_ROLE}", role)
    api.apply(f"{_RBAC}/clusterrolebindings/{_ROLE}", binding)
