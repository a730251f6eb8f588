"""What a cluster remembers about itself: `cluster.json` in its state folder."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sea_devcluster import recordfiles
from sea_devcluster.errors import RecordError
from sea_devcluster.paths import write_private

log = logging.getLogger(__name__)

FILE = "cluster.json"


@dataclass(frozen=True)
class Capacity:
    """What each node offers to pods, as Kubernetes quantities."""

    cpu: str
    memory: str
    gpus: int = 0

    def resources(self) -> dict[str, str]:
        """The node agent's `resources`."""
        gpus = {"nvidia.com/gpu": str(self.gpus)} if self.gpus else {}
        return {"cpu": self.cpu, "memory": self.memory, "pods": "110", **gpus}


@dataclass(frozen=True)
class ClusterRecord:
    """One cluster's identity, written before anything is started."""

    name: str
    subnet: int
    """A of 127.A.0.0/16."""
    nodes: int
    checkout: str
    """The clone that started it."""
    capacity: Capacity
    namespaces: tuple[str, ...] = ()
    """Namespaces in which `s3.NAMESPACE.svc` names the object store."""


def save(folder: Path, record: ClusterRecord) -> None:
    """Writes the record in one step."""
    write_private(folder / FILE, json.dumps(asdict(record), indent=1))


def load(folder: Path) -> ClusterRecord | None:
    """Reads the record; None where there is no cluster.

    Raises:
        RecordError: It is broken.
    """
    try:
        return recordfiles.load(folder / FILE, _parse)
    except FileNotFoundError:
        return None


def exists(folder: Path) -> bool:
    """Whether there is a cluster, also one whose record is broken."""
    return (folder / FILE).exists()


def list_clusters(root: Path) -> list[tuple[Path, ClusterRecord]]:
    """All clusters below a state root, by name; of one with a broken record a line is logged."""
    entries = sorted(root.iterdir()) if root.is_dir() else []
    folders = [entry for entry in entries if entry.is_dir()]  # lock files lie beside them
    return [(folder, record) for folder in folders if (record := _load_or_tell(folder))]


def _load_or_tell(folder: Path) -> ClusterRecord | None:
    try:
        return load(folder)
    except RecordError as error:
        log.warning("Devcluster %s is left as it is. %s", folder.name, error)
        return None


def _parse(content: dict[str, Any]) -> ClusterRecord:
    capacity = Capacity(**content.pop("capacity"))
    namespaces = tuple(content.pop("namespaces"))
    return ClusterRecord(**content, capacity=capacity, namespaces=namespaces)
