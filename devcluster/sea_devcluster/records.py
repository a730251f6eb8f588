"""The record that a cluster keeps in its state folder, and how such files are read.

They are written in one step (`paths.write_private`), but a machine that loses power, or a person
with an editor, can leave one empty or truncated. That is an error with a sentence, never a
traceback, and `down` works nevertheless (`force_cleanup`).
"""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Self, TypeVar

from sea_api.v1alpha1.names import GPU
from sea_devcluster import machine
from sea_devcluster.errors import DevclusterError, RecordError
from sea_devcluster.paths import write_private
from sea_devcluster.subnets import MAX_NODES

log = logging.getLogger(__name__)

Record = TypeVar("Record")
FILE = "cluster.json"
MAX_CPUS = 10_000
MAX_MEMORY_BYTES = 2**50
MAX_GPUS = 1_000
_VALID_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def load_json(path: Path, build: Callable[[Any], Record]) -> Record:
    """Reads a JSON file by which later commands find a cluster again, and parses it with `build`.

    Raises:
        FileNotFoundError: There is no such file.
        RecordError: It is empty, truncated, or not what `build` expects.
    """
    try:
        return build(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"The record {path} cannot be read ({type(error).__name__}: {error}); stop and remove "
            "what is left of this cluster with `python -m sea_devcluster down` (and its --name and "
            "--state-dir, if it was given any), then start it again."
        ) from error


@dataclass(frozen=True)
class Capacity:
    """What each node offers to pods, as Kubernetes quantities."""

    cpu: str
    memory: str
    gpus: int = 0

    @classmethod
    def of_machine(cls) -> Self:
        """The whole machine as one node's capacity."""
        memory = f"{machine.total_memory() // 2**20}Mi"
        return cls(str(machine.processor_count()), memory, machine.gpu_count())

    def resources(self) -> dict[str, str]:
        """Capacity of the Node object."""
        gpus = {GPU: str(self.gpus)} if self.gpus else {}
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
    """Reads the record; None if there is no cluster.

    Raises:
        RecordError: It is broken.
    """
    try:
        return load_json(folder / FILE, _parse)
    except FileNotFoundError:
        return None


def exists(folder: Path) -> bool:
    """True if there is a cluster, even one whose record is broken."""
    return (folder / FILE).exists()


def list_clusters(root: Path) -> list[tuple[Path, ClusterRecord]]:
    """All clusters below a state root, by name; logs a warning for each broken record."""
    entries = sorted(root.iterdir()) if root.is_dir() else []
    folders = [entry for entry in entries if entry.is_dir()]  # the lock files are next to them
    return [(folder, record) for folder in folders if (record := _load_or_warn(folder))]


def _load_or_warn(folder: Path) -> ClusterRecord | None:
    try:
        return load(folder)
    except RecordError as error:
        log.warning("Devcluster %s is left as it is. %s", folder.name, error)
        return None


def _parse(content: dict[str, Any]) -> ClusterRecord:
    capacity = Capacity(**content.pop("capacity"))
    namespaces = tuple(content.pop("namespaces"))
    return ClusterRecord(**content, capacity=capacity, namespaces=namespaces)


def require_name(name: str) -> None:
    """Validates a cluster's name, which becomes part of paths and of Kubernetes names.

    Raises:
        DevclusterError: It is invalid.
    """
    if not _VALID_NAME.fullmatch(name):
        raise DevclusterError(
            f"A devcluster cannot be called {name!r}; use up to 32 lower-case letters, digits "
            "and hyphens, such as `demo-2`."
        )


def require_size(nodes: int, capacity: Capacity | None) -> None:
    """Validates the number and size of a cluster's nodes.

    Raises:
        DevclusterError: A value is out of range; the message names the option.
    """
    if not 1 <= nodes <= MAX_NODES:
        raise DevclusterError(
            f"A devcluster cannot have {nodes} nodes; give --nodes a number from 1 to {MAX_NODES}."
        )
    if capacity is None:
        return
    if not 0 < _quantity(capacity.cpu) <= MAX_CPUS:
        raise DevclusterError(
            f"A node cannot offer {capacity.cpu!r} CPUs; give --cpu a number up to {MAX_CPUS}, "
            "such as 4 or 500m."
        )
    if not 1 <= _quantity(capacity.memory) <= MAX_MEMORY_BYTES:
        raise DevclusterError(
            f"A node cannot offer {capacity.memory!r} of memory; give --memory a quantity up to "
            "1024Ti, such as 16Gi or 800Mi."
        )
    if not 0 <= capacity.gpus <= MAX_GPUS:
        raise DevclusterError(
            f"A node cannot offer {capacity.gpus} GPUs; give --gpus a number from 0 to {MAX_GPUS}."
        )


def _quantity(text: str) -> Decimal:
    """A Kubernetes quantity as a number; 0 if it is invalid."""
    # Here, not above: the import takes half a second, which `status` and `down` need not wait for.
    from kubernetes.utils.quantity import parse_quantity

    try:
        number: Decimal = parse_quantity(text)
    except ValueError:
        return Decimal(0)
    return number if number.is_finite() else Decimal(0)
