"""Where the demo runs: what it needs to know of a cluster and of its object server."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ObjectServer:
    """An S3 server as seen from this machine and from the pods."""

    endpoint: str
    pod_endpoint: str
    access_key: str
    secret_key: str


@dataclass(frozen=True)
class Target:
    """A cluster that is up."""

    kubeconfig: Path | None
    kubectl: str
    server: ObjectServer
    registry: str = ""
    """Prefix of the image names, with its slash."""
    tag: str = "dev"
    down_command: str | None = None
    """What stops everything, None where the cluster isn't ours."""
