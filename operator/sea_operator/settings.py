"""The operator's settings: images of the roles, namespaces, intervals, identity, revision."""

import functools
import hashlib
import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from importlib.resources import files
from pathlib import Path

from sea_api.contract import Env

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Images:
    """Images of roles whose job names none. The defaults are in a registry that nobody can own."""

    coordinator: str = "registry.invalid/sea-operator/coordinator:latest"
    trainer: str = "registry.invalid/sea-operator/trainer:latest"
    rollout: str = "registry.invalid/sea-operator/rollout:latest"


@functools.cache
def revision(images: Images) -> str:
    """Identifies everything that, besides a job, decides on its pods: code and default images.

    The code itself and not a version number: two builds may have the same one. A revision that
    changed for nothing does no harm, since what it makes is compared first.
    """
    return hashlib.sha256(repr((astuple(images), code_digest())).encode()).hexdigest()[:12]


@functools.cache
def code_digest() -> str:
    """Digest of the sources that make pods: `sea_operator.resources` and the models."""
    digest = hashlib.sha256()
    for package in ("sea_operator.resources", "sea_api", "sea_api.v1alpha1"):
        for file in sorted(files(package).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".py"):
                digest.update(file.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Intervals:
    """Seconds between two passes over a job that nothing happened to, and limits on waiting."""

    active: float = 1.0
    calm: float = 2.0
    """While the last `settled.CALM_POLLS` polls of a running job brought nothing."""
    stalled: float = 5.0
    waiting: float = 5.0
    """While no pod but the coordinator is ready."""
    calm_waiting: float = 20.0
    """Of such a job, while the last `settled.CALM_POLLS` polls of it brought nothing."""
    idle: float = 30.0
    dead_node_grace: float = 60.0
    """How long a pod may be overdue on a dead node before it's force-deleted."""


@dataclass(frozen=True)
class LeaseTimes:
    """Seconds. A leader that can't renew for `deadline` stops before others may follow."""

    # `deadline` < `duration`: the old leader has stopped before a new one may begin. A leader tries
    # about four times (`retry`, plus jitter) before its deadline.
    duration: float = 10.0
    deadline: float = 7.0
    retry: float = 1.5


@dataclass(frozen=True)
class Settings:
    """Everything of one operator process."""

    images: Images = Images()
    namespaces: tuple[str, ...] = ()
    """Empty means all namespaces."""
    identity: str = "sea-operator"
    lease_namespace: str = "sea-system"
    lease_name: str = "sea-operator"
    health_host: str = "127.0.0.1"
    health_port: int = 8080
    fixed_nodes: bool = False
    """Whether no autoscaler adds nodes: pods that fit on none then stall their job."""
    workers: int = 16
    """Passes that use the API server at one time."""
    intervals: Intervals = field(default_factory=Intervals)
    lease: LeaseTimes = field(default_factory=LeaseTimes)


def images(env: Mapping[str, str]) -> Images:
    """Images from SEA_COORDINATOR_IMAGE, SEA_TRAINER_IMAGE and SEA_ROLLOUT_IMAGE."""
    fallback = Images()
    return Images(
        coordinator=env.get("SEA_COORDINATOR_IMAGE", fallback.coordinator),
        trainer=env.get("SEA_TRAINER_IMAGE", fallback.trainer),
        rollout=env.get("SEA_ROLLOUT_IMAGE", fallback.rollout),
    )


def identity(env: Mapping[str, str]) -> str:
    """Holder of the lease.

    The pod's name in a cluster: a container that the kubelet restarted follows itself without a
    wait, which is safe because the kubelet never runs two of them. Elsewhere unique per process.
    """
    return env.get(Env.POD_NAME) or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"


def own_namespace(env: Mapping[str, str], file: Path = NAMESPACE_FILE) -> str | None:
    """Namespace the operator's own pod runs in, None outside a cluster."""
    if namespace := env.get("POD_NAMESPACE"):
        return namespace
    return file.read_text().strip() if file.exists() else None


def health_host(env: Mapping[str, str] = os.environ) -> str:
    """The pod's own address, never all of the machine's."""
    return env.get(Env.POD_IP, "127.0.0.1")
