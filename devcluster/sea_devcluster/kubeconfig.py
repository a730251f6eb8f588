"""Kubeconfig documents: how clients find the API server and prove who they are."""

import json
from dataclasses import dataclass
from pathlib import Path

from sea_devcluster.paths import write_private
from sea_devcluster.pki import KeyPair


@dataclass(frozen=True)
class Server:
    """Address of an API server and the authority that signed its certificate."""

    url: str
    ca_file: Path


def token_user(token: str) -> dict[str, str]:
    """Credentials by bearer token."""
    return {"token": token}


def certificate_user(pair: KeyPair) -> dict[str, str]:
    """Credentials by client certificate."""
    return {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}


def document(name: str, server: Server, user: dict[str, str]) -> str:
    """The kubeconfig as JSON, which is YAML too."""
    cluster = {"server": server.url, "certificate-authority": str(server.ca_file)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    return json.dumps(content, indent=1)


def write(path: Path, name: str, server: Server, user: dict[str, str]) -> Path:
    """Writes a kubeconfig that only this user can read."""
    return write_private(path, document(name, server, user))
