"""Command lines of etcd and the three Kubernetes servers. Pure functions of a `Layout`.

Every flag was tried with the versions that `controlplane/go.mod` pins. Everything binds one
loopback address; nothing is reachable from other machines.
"""

from dataclasses import dataclass
from pathlib import Path

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
COMPONENTS = (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER)
"""In start order."""

SERVICE_CIDR = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
"""Cluster IP of the Service `kubernetes`: not routed, but named in certificates."""

# The API server refuses endpoints in 127.0.0.0/8, where our pods are. These controllers would fail
# on every Service indefinitely; the node agent resolves Service names from the pods themselves.
_IDLE_CONTROLLERS = (
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
)


@dataclass(frozen=True)
class Ports:
    """TCP ports of one control plane on its address."""

    etcd_client: int
    etcd_peer: int
    api: int
    controller_manager: int
    scheduler: int


@dataclass(frozen=True)
class Layout:
    """Where one control plane listens and where its files are stored."""

    address: str
    ports: Ports
    state_dir: Path

    @property
    def pki(self) -> Path:
        """Keys, certificates, tokens and the components' kubeconfigs."""
        return self.state_dir / "pki"

    def listeners(self, component: str) -> list[tuple[str, int]]:
        """Addresses and ports on which a component listens."""
        ports = {
            ETCD: (self.ports.etcd_client, self.ports.etcd_peer),
            API_SERVER: (self.ports.api,),
            CONTROLLER_MANAGER: (self.ports.controller_manager,),
            SCHEDULER: (self.ports.scheduler,),
        }
        return [(self.address, port) for port in ports[component]]

    @property
    def api_url(self) -> str:
        """URL of the API server."""
        return f"https://{self.address}:{self.ports.api}"

    @property
    def etcd_url(self) -> str:
        """URL of etcd for its clients."""
        return f"http://{self.address}:{self.ports.etcd_client}"


def etcd(layout: Layout) -> list[str]:
    """Etcd without fsync: a devcluster need not survive a crash of its machine."""
    peer = f"http://{layout.address}:{layout.ports.etcd_peer}"
    return [
        f"--data-dir={layout.state_dir / 'etcd'}",
        "--name=devcluster",
        f"--listen-client-urls={layout.etcd_url}",
        f"--advertise-client-urls={layout.etcd_url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=devcluster={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        # A single member elects itself; the default second of waiting is a third of our start-up.
        "--heartbeat-interval=20",
        "--election-timeout=200",
        # Removes old revisions on a cluster that stays up for days.
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=30m",
    ]


def api_server(layout: Layout) -> list[str]:
    """kube-apiserver with Node and RBAC authorization, tokens and client certificates."""
    pki = layout.pki
    return [
        f"--etcd-servers={layout.etcd_url}",
        f"--bind-address={layout.address}",
        f"--advertise-address={layout.address}",
        f"--secure-port={layout.ports.api}",
        # It would publish a loopback address as an endpoint, which the API server refuses.
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--token-auth-file={pki / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        # The second is on in OpenShift: an owner reference that blocks the owner's deletion then
        # needs more rights than operators have.
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        # Readiness is therefore asked with a token (`KubeApi.ready`).
        "--anonymous-auth=false",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--service-account-issuer={layout.api_url}",
        f"--service-account-key-file={pki / 'service-account.key'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        "--allow-privileged=true",
        # For `kubectl logs`: node and API server authenticate to each other.
        f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'kubelet-client.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
    ]


def controller_manager(layout: Layout) -> list[str]:
    """kube-controller-manager without leader election: there is only one."""
    pki = layout.pki
    return [
        f"--kubeconfig={pki / 'controller-manager.kubeconfig'}",
        f"--service-account-private-key-file={pki / 'service-account.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        f"--controllers={','.join(['*', *(f'-{name}' for name in _IDLE_CONTROLLERS)])}",
        f"--bind-address={layout.address}",
        f"--secure-port={layout.ports.controller_manager}",
        "--profiling=false",
    ]


def scheduler(layout: Layout) -> list[str]:
    """kube-scheduler without leader election: there is only one."""
    return [
        f"--kubeconfig={layout.pki / 'scheduler.kubeconfig'}",
        "--leader-elect=false",
        f"--bind-address={layout.address}",
        f"--secure-port={layout.ports.scheduler}",
        "--profiling=false",
    ]


ARGUMENTS = {
    ETCD: etcd,
    API_SERVER: api_server,
    CONTROLLER_MANAGER: controller_manager,
    SCHEDULER: scheduler,
}
"""Functions that build the arguments, by component."""
