"""Who may talk to the API server: the administrator, its own components, the nodes.

Components use tokens from a file that the server reads once at its start; nodes, which may be added
later, use client certificates. Node identities belong to `system:nodes`, so the API server's Node
authorizer lets each read only the Secrets of its own pods.

Everything is written once into the cluster's `pki` folder and used until `down` removes it.
"""

import csv
import io
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

import trustme

from sea_devcluster.components import SERVICE_ADDRESS, Layout
from sea_devcluster.paths import private_folder, write_private

ADMIN = "devcluster-admin"
NODE_GROUP = "system:nodes"
_USERS = {
    ADMIN: "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
}
"""Group by user; the user's own rights are enough where it is empty."""
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
class KeyPair:
    """Paths of a certificate and its private key, both PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class NodeIdentity:
    """What a node needs to talk to the API server, and the API server to talk to the node."""

    kubeconfig: Path
    serving: KeyPair
    ca_file: Path


class Authority:
    """The cluster's certificate authority; a pair that exists is used again."""

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder)
        self.pair = KeyPair(folder / "ca.crt", folder / "ca.key")
        if not self.pair.certificate.exists():
            ca = trustme.CA(organization_name="sea-devcluster", path_length=0)
            # Key before certificate, whose existence says that the pair is complete.
            write_private(self.pair.key, ca.private_key_pem.bytes())
            write_private(self.pair.certificate, ca.cert_pem.bytes())

    def issue(self, name: str, user: str, *identities: str, group: str | None = None) -> KeyPair:
        """A certificate for clients and servers.

        Args:
            name: File name without suffix.
            user: Kubernetes user of a client: the common name.
            identities: Host names and IP addresses of a server; at least one, since Go refuses a
                certificate whose list of names is empty.
            group: Kubernetes group of a client: the organization.
        """
        pair = KeyPair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        if not pair.certificate.exists():
            ca = trustme.CA.from_pem(self.pair.certificate.read_bytes(), self.pair.key.read_bytes())
            leaf = ca.issue_cert(*identities, common_name=user, organization_name=group)
            # Key before certificate, for the same reason as in the authority.
            write_private(pair.key, leaf.private_key_pem.bytes())
            write_private(pair.certificate, leaf.cert_chain_pems[0].bytes())
        return pair

    def service_account_key(self) -> Path:
        """The key that signs and verifies service-account tokens; RSA, for RS256."""
        path = self.folder / "service-account.key"
        if not path.exists():
            key = trustme.CA(key_type=trustme.KeyType.RSA).private_key_pem
            write_private(path, key.bytes())
        return path


def prepare(layout: Layout) -> None:
    """Writes all keys, tokens and component kubeconfigs that do not exist yet."""
    authority = Authority(layout.pki)
    authority.service_account_key()
    addresses = dict.fromkeys((layout.address, "127.0.0.1", SERVICE_ADDRESS))
    authority.issue("apiserver", "kube-apiserver", *addresses, *_SERVICE_NAMES)
    authority.issue(
        "kubelet-client", "kube-apiserver-kubelet", "kube-apiserver", group="system:masters"
    )
    tokens_file = layout.pki / "tokens.csv"
    if not tokens_file.exists():
        write_private(tokens_file, _token_rows())
    tokens = read_tokens(layout.pki)
    for name, user in _COMPONENT_CONFIGS.items():
        write_kubeconfig(layout.pki / name, user, layout, {"token": tokens[user]})


def read_tokens(pki: Path) -> dict[str, str]:
    """Bearer tokens by user."""
    rows = csv.reader((pki / "tokens.csv").read_text().splitlines())
    return {row[1]: row[0] for row in rows}


def write_admin_kubeconfig(layout: Layout, path: Path) -> None:
    """Writes the kubeconfig that people and tests use."""
    user = {"token": read_tokens(layout.pki)[ADMIN]}
    write_kubeconfig(path, "sea-devcluster", layout, user)


def issue_node(layout: Layout, name: str, address: str) -> NodeIdentity:
    """Client and serving certificates of a node, and its kubeconfig.

    Args:
        layout: The control plane.
        name: Name of the Node object.
        address: Address of the node's own server (logs).
    """
    authority = Authority(layout.pki)
    user = f"system:node:{name}"
    client = authority.issue(f"node-{name}", user, name, group=NODE_GROUP)
    serving = authority.issue(f"node-{name}-serving", user, name, address)
    path = layout.pki / f"node-{name}.kubeconfig"
    certificate = {
        "client-certificate": str(client.certificate),
        "client-key": str(client.key),
    }
    write_kubeconfig(path, user, layout, certificate)
    return NodeIdentity(path, serving, authority.pair.certificate)


def write_kubeconfig(path: Path, name: str, layout: Layout, user: dict[str, str]) -> Path:
    """Writes a kubeconfig that only this user can read, as JSON, which is YAML too.

    Args:
        path: Where to.
        name: Name of the context, the cluster and the user.
        layout: The control plane.
        user: The user's credentials, as in a kubeconfig.
    """
    cluster = {"server": layout.api_url, "certificate-authority": str(layout.pki / "ca.crt")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    return write_private(path, json.dumps(content, indent=1))


def _token_rows() -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for user, group in _USERS.items():
        writer.writerow([secrets.token_hex(24), user, user, *([group] if group else [])])
    return buffer.getvalue()
