"""Reads a kubeconfig file: server, how to trust it, how to prove who we are."""

import base64
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError


@dataclass(frozen=True)
class Connection:
    """Where the API server is and how to speak to it."""

    server: str
    tls: ssl.SSLContext | None
    headers: dict[str, str] = field(default_factory=dict)


def load_connection(path: Path) -> Connection:
    """The current context of a kubeconfig with a CA and a token or a client certificate."""
    try:
        document: dict[str, Any] = yaml.safe_load(path.read_text())
        context = _named(document, "contexts", document["current-context"])["context"]
        cluster = _named(document, "clusters", context["cluster"])["cluster"]
        user = _named(document, "users", context["user"])["user"]
        return Connection(cluster["server"], _tls(path, cluster, user), _headers(path, user))
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        message = f"The kubeconfig {path} can't be used: {type(error).__name__} {error}"
        raise ConfigError(message) from error


def _named(document: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    for entry in document[kind]:
        if entry["name"] == name:
            return dict(entry)
    message = f"it has no entry {name!r} in {kind}"
    raise ValueError(message)


def _headers(path: Path, user: dict[str, Any]) -> dict[str, str]:
    token = user.get("token")
    if "tokenFile" in user:
        token = (path.parent / user["tokenFile"]).read_text().strip()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _content(path: Path, section: dict[str, Any], key: str) -> bytes | None:
    """Bytes of `key` given as a file (relative to the kubeconfig) or as base64 data."""
    if f"{key}-data" in section:
        return base64.b64decode(section[f"{key}-data"])
    return (path.parent / section[key]).read_bytes() if key in section else None


def _tls(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext | None:
    if not cluster["server"].startswith("https:"):
        return None
    authority = _content(path, cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate = _content(path, user, "client-certificate")
    key = _content(path, user, "client-key")
    if certificate and key:
        # The ssl module loads client certificates from files only.
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(certificate + b"\n" + key)
            pair.flush()
            context.load_cert_chain(pair.name)
    return context
