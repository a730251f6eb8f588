"""A node of a cluster: its agent's configuration, process and rights at the API server.

The agent itself is `sea_devcluster.node`; all that passes between it and this file is one JSON
file and the Node object's Ready condition.
"""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sea_devcluster.api import KubeApi
from sea_devcluster.components import Layout
from sea_devcluster.credentials import NODE_GROUP, issue_node
from sea_devcluster.daemons import Command, Daemon
from sea_devcluster.errors import ApiError, StartError
from sea_devcluster.paths import private_folder, write_private
from sea_devcluster.ports import free_ports
from sea_devcluster.records import Capacity
from sea_devcluster.waiting import START_TIMEOUT_SECONDS, wait_until

REPOSITORY = "sea-operator"
NAMES = ("operator", "coordinator", "trainer", "rollout")
# A pod has its own /tmp and /run, so host folders below these must be mounted explicitly.
_HIDDEN = (Path("/tmp"), Path("/run"))  # noqa: S108
STOP_GRACE_SECONDS = 20.0
_READ = ["get", "list", "watch"]
_ROLE = "devcluster-node"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


def image_map(extra: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """The node agent's `images`: our four `:dev` images and `extra`, all this environment."""
    references = [f"{REPOSITORY}/{name}:dev" for name in NAMES]
    return {reference: _environment() for reference in [*references, *extra]}


def _environment() -> dict[str, Any]:
    prefix = Path(sys.prefix)
    checkout = Path(__file__).resolve().parents[2]
    roots = (prefix, Path(sys.base_prefix), checkout)
    return {
        "path": [str(prefix / "bin")],
        # Pods see the environment read-only, so Python must not try to cache bytecode there.
        "env": {"VIRTUAL_ENV": str(prefix), "PYTHONDONTWRITEBYTECODE": "1"},
        "mounts": hidden_roots(roots),
    }


def hidden_roots(roots: Iterable[Path]) -> list[str]:
    """Folders that a pod's own /tmp or /run would hide; none inside another."""
    hidden = {root for root in roots if any(root.is_relative_to(folder) for folder in _HIDDEN)}
    return sorted(
        str(root)
        for root in hidden
        if not any(root != other and root.is_relative_to(other) for other in hidden)
    )


@dataclass(frozen=True)
class NodeSpec:
    """One node: its addresses, capacity and images."""

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
    """One node agent, run as a daemon."""

    def __init__(self, state_dir: Path, spec: NodeSpec, *, persistent: bool) -> None:
        self.spec = spec
        self.name = spec.name
        self.folder = state_dir / "nodes" / spec.name
        self.daemon = Daemon(state_dir, spec.name)
        self._persistent = persistent

    def launch(self, layout: Layout) -> None:
        """Starts the agent for the control plane of `layout` and returns at once. Idempotent."""
        if self.daemon.alive():
            return
        private_folder(self.folder)
        private_folder(self.spec.memory_root)
        path = self.folder.with_suffix(".json")
        write_private(path, json.dumps(self._config(layout), indent=1))
        argv = [sys.executable, "-m", "sea_devcluster.node", "--config", str(path)]
        self.daemon.start(Command(self.name, argv, cwd=self.folder), persistent=self._persistent)

    def wait_ready(self, api: KubeApi, servers: Iterable[Daemon]) -> None:
        """Waits until the API server reports that the node is Ready.

        Args:
            api: The API server.
            servers: Daemons without which no node becomes Ready.

        Raises:
            StartError: The agent or a server ended, or the node was not Ready in time.
        """
        needed = (*servers, self.daemon)

        def require_alive() -> None:
            for daemon in needed:
                daemon.require_alive()

        try:
            wait_until(
                lambda: node_ready(api, self.name),
                what=f"{self.name} to become Ready (log: {self.daemon.log_file})",
                timeout=START_TIMEOUT_SECONDS,
                check=require_alive,
            )
        except StartError as error:
            raise self.daemon.with_tail(error) from None

    def stop(self) -> None:
        """Stops the agent and every pod that is left on it. Idempotent."""
        # The agent removes its memory volumes itself; the line below is for one that was killed.
        self.daemon.stop(STOP_GRACE_SECONDS)
        shutil.rmtree(self.spec.memory_root, ignore_errors=True)

    def _config(self, layout: Layout) -> dict[str, Any]:
        """The agent's configuration; fields as in `sea_devcluster.node.config.NodeConfig`."""
        spec = self.spec
        identity = issue_node(layout, spec.name, spec.address)
        return {
            "name": spec.cluster,
            "node_name": spec.name,
            "kubeconfig": str(identity.kubeconfig),
            "root": str(self.folder),
            "address": spec.address,
            # Chosen at every launch: only the Node object names it.
            "kubelet_port": free_ports((spec.address,), 1)[0],
            "pod_subnet": spec.pod_subnet,
            "images": spec.images,
            "hosts": dict(spec.hosts),
            "api_host": layout.address,
            "api_port": layout.ports.api,
            "ca_file": str(identity.ca_file),
            "cert_file": str(identity.serving.certificate),
            "key_file": str(identity.serving.key),
            "resources": spec.capacity.resources(),
            "memory_root": str(spec.memory_root),
            "component_logs": str(self.daemon.log_file.parent),
        }


def node_ready(api: KubeApi, name: str) -> bool:
    """True if the Node exists and its Ready condition is True."""
    try:
        node = api.get(f"/api/v1/nodes/{name}")
    except (ApiError, OSError):
        return False
    conditions = node.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def grant_rights(api: KubeApi) -> None:
    """Lets nodes read what cluster DNS would read: pods and Services of all namespaces."""
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
