"""The Node object: registered at the start, kept Ready by Lease and status, then NotReady."""

import asyncio
import logging
import platform
from collections.abc import Callable
from datetime import datetime

from sea_api.v1alpha1.names import GROUP
from sea_devcluster.errors import ApiError, DevclusterError

from .api import ApiClient
from .config import NodeConfig
from .kube_json import Json, micro_timestamp, timestamp

log = logging.getLogger(__name__)

# A kubelet's default; the node controller marks the node Unknown without renewals.
LEASE_SECONDS = 40
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
NODES = "/api/v1/nodes"
VERSION = "v1.36.3"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class NodeRegistration:
    """Keeps one Node alive in the API server."""

    def __init__(
        self, api: ApiClient, config: NodeConfig, kubelet_port: int, now: Callable[[], datetime]
    ) -> None:
        self._api = api
        self._config = config
        self._port = kubelet_port
        self._now = now
        self._ready_since = now()

    async def register(self) -> None:
        """Creates the Node, or takes over the one that an earlier agent created."""
        node = node_object(self._config)
        node["status"] = node_status(self._config, self._port, True, self._ready_since, self._now())
        try:
            await self._api.create(NODES, node)
        except ApiError as error:
            # 409: the Node exists, from an agent that was killed or stopped.
            if error.status != 409:
                raise
            # Only a new Node gets taints, as with a kubelet: a node may not remove others'.
            change = {"metadata": {"labels": node["metadata"]["labels"]}}
            await self._api.patch(f"{NODES}/{self._config.node_name}", change, "merge")
        await self._write_status(ready=True)
        await self._renew_lease()

    async def run(self) -> None:
        """Sends heartbeats until cancelled; waits for an unreachable API server."""
        while True:
            await asyncio.sleep(self._config.heartbeat_seconds)
            try:
                await self._renew_lease()
                await self._write_status(ready=True)
            except DevclusterError as error:
                if isinstance(error, ApiError) and error.status == 404:
                    await self._register_again()
                else:
                    log.warning("Heartbeat of node %s failed: %s", self._config.node_name, error)

    async def leave(self) -> None:
        """Marks the Node NotReady."""
        self._ready_since = self._now()
        await self._write_status(ready=False)

    async def _register_again(self) -> None:
        """The Node or its Lease was deleted: recreates it, as a kubelet does."""
        try:
            await self.register()
        except DevclusterError as error:
            log.warning("Node %s not registered again: %s", self._config.node_name, error)

    async def _write_status(self, *, ready: bool) -> None:
        status = node_status(self._config, self._port, ready, self._ready_since, self._now())
        await self._api.patch(f"{NODES}/{self._config.node_name}/status", {"status": status})

    async def _renew_lease(self) -> None:
        name = self._config.node_name
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": micro_timestamp(self._now()),
        }
        try:
            # Patch, then create: after the first time the Lease exists, and this is one request.
            await self._api.patch(f"{LEASES}/{name}", {"spec": spec}, "merge")
        except ApiError as error:
            if error.status != 404:
                raise
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "namespace": "kube-node-lease"},
                "spec": spec,
            }
            await self._api.create(LEASES, lease)


def node_object(config: NodeConfig) -> Json:
    """The Node without its status."""
    labels = {
        "kubernetes.io/hostname": config.node_name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        f"{GROUP}/devcluster": config.name,
        **config.labels,
    }
    metadata = {"name": config.node_name, "labels": labels}
    spec: Json = {"taints": list(config.taints)} if config.taints else {}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}


def node_status(
    config: NodeConfig,
    kubelet_port: int,
    ready: bool,
    since: datetime,
    now: datetime,
) -> Json:
    """The Node's status as a strategic merge patch."""
    resources = {"pods": "110", **config.resources}
    reason = "KubeletReady" if ready else "NodeAgentStopped"
    message = "the node agent runs pods" if ready else "the node agent was stopped"
    conditions = [
        _condition("Ready", "True" if ready else "False", reason, message, since, now),
        *[
            _condition(kind, "False", f"KubeletHasNo{kind}", "not watched here", since, now)
            for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
        ],
    ]
    return {
        "capacity": resources,
        "allocatable": resources,
        "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": config.address},
            {"type": "Hostname", "address": config.node_name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}},
        "nodeInfo": _node_info(config),
    }


def _condition(
    kind: str, status: str, reason: str, message: str, since: datetime, now: datetime
) -> Json:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": timestamp(now),
        "lastTransitionTime": timestamp(since),
    }


def _node_info(config: NodeConfig) -> Json:
    machine = platform.machine()
    return {
        "machineID": config.node_name,
        "systemUUID": config.node_name,
        "bootID": config.node_name,
        "kernelVersion": platform.release(),
        "osImage": "host of the devcluster",
        "containerRuntimeVersion": "bubblewrap://0",
        "kubeletVersion": VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": _ARCHITECTURES.get(machine, machine),
    }
