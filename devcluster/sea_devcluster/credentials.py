"""Who may talk to the API server: the administrator, its own components, the nodes.

Components use tokens from a file that the server reads once at its start; nodes, which may come
later, use client certificates. Node identities belong to `system:nodes`, so the API server's Node
authorizer lets each read only the Secrets of its own pods.
"""

import csv
import io
import secrets
from dataclasses import dataclass
from pathlib import Path

from sea_devcluster import kubeconfig
from sea_devcluster.components import SERVICE_ADDRESS, Layout
from sea_devcluster.kubeconfig import Server
from sea_devcluster.paths import write_private
from sea_devcluster.pki import Authority, KeyPair

ADMIN = "devcluster-admin"
NODE_GROUP = "devcluster:nodes"
_USERS = {
    ADMIN: "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
}
_COMPONENT_CONFIGS = {
    "controller-manager.kubeconfig": "system:kube-controller-manager",
    "scheduler.kubeconfig": "system:kube-scheduler",
}
_SERVICE_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True)
class NodeIdentity:
    """What a node needs to talk to the API server and to be talked to by it."""

    kubeconfig: Path
    serving: KeyPair
    ca_file: Path


def prepare(layout: Layout) -> None:
    """Writes all keys, tokens and component kubeconfigs that do not exist yet."""
    authority = Authority(layout.pki)
    authority.service_account_key()
    addresses = tuple(dict.fromkeys((layout.address, "127.0.0.1", SERVICE_ADDRESS)))
    authority.issue(
        "apiserver", common_name="kube-apiserver", addresses=addresses, hosts=_SERVICE_NAMES
    )
    authority.issue(
        "kubelet-client", common_name="kube-apiserver-kubelet", organizations=("system:masters",)
    )
    tokens_file = layout.pki / "tokens.csv"
    if not tokens_file.exists():
        write_private(tokens_file, _token_rows())
    tokens = read_tokens(layout.pki)
    for name, user in _COMPONENT_CONFIGS.items():
        credentials = kubeconfig.token_user(tokens[user])
        kubeconfig.write(layout.pki / name, user, _server(layout), credentials)


def read_tokens(pki: Path) -> dict[str, str]:
    """Bearer tokens by user."""
    rows = csv.reader((pki / "tokens.csv").read_text().splitlines())
    return {row[1]: row[0] for row in rows}


def write_admin_kubeconfig(layout: Layout, path: Path) -> None:
    """The kubeconfig that people and tests use."""
    user = kubeconfig.token_user(read_tokens(layout.pki)[ADMIN])
    kubeconfig.write(path, "sea-devcluster", _server(layout), user)


def issue_node(layout: Layout, name: str, address: str) -> NodeIdentity:
    """Client and serving certificates of a node, and its kubeconfig.

    Args:
        layout: The control plane.
        name: Name of the Node object.
        address: Address of the node's own server (logs, exec).
    """
    authority = Authority(layout.pki)
    user = f"system:node:{name}"
    groups = ("system:nodes", NODE_GROUP)
    client = authority.issue(f"node-{name}", common_name=user, organizations=groups)
    serving = authority.issue(
        f"node-{name}-serving", common_name=user, addresses=(address,), hosts=(name,)
    )
    path = layout.pki / f"node-{name}.kubeconfig"
    kubeconfig.write(path, user, _server(layout), kubeconfig.certificate_user(client))
    return NodeIdentity(path, serving, authority.pair.certificate)


def _server(layout: Layout) -> Server:
    return Server(layout.api_url, layout.pki / "ca.crt")


def _token_rows() -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for user, group in _USERS.items():
        writer.writerow([secrets.token_hex(24), user, user, *([group] if group else [])])
    return buffer.getvalue()
