"""What a cluster may be called and how large it may be: nonsense is refused before any start."""

import re

from sea_devcluster.errors import DevclusterError
from sea_devcluster.records import Capacity
from sea_devcluster.subnets import MAX_NODES

MAX_CPUS = 10_000
MAX_MEMORY_BYTES = 2**50
MAX_GPUS = 1_000
_VALID_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_QUANTITY = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)([a-zA-Z]*)")
_CPU_UNITS = {"": 1.0, "m": 0.001}
_MEMORY_UNITS = {
    "": 1.0,
    **{unit: 1e3 ** (power + 1) for power, unit in enumerate("kMGT")},
    **{f"{unit}i": 1024.0 ** (power + 1) for power, unit in enumerate("KMGT")},
}


def require_name(name: str) -> None:
    """Looks at a cluster's name: it becomes part of paths and of Kubernetes names.

    Raises:
        DevclusterError: It cannot.
    """
    if not _VALID_NAME.fullmatch(name):
        raise DevclusterError(
            f"A devcluster cannot be called {name!r}; use up to 32 lower-case letters, digits "
            "and hyphens, such as `demo-2`."
        )


def require_size(nodes: int, capacity: Capacity | None) -> None:
    """Looks at what a cluster is asked to be.

    Raises:
        DevclusterError: A number that no cluster can have; the message names the option.
    """
    if not 1 <= nodes <= MAX_NODES:
        raise DevclusterError(
            f"A devcluster cannot have {nodes} nodes; give --nodes a number from 1 to {MAX_NODES}."
        )
    if capacity is None:
        return
    if not 0 < _amount(capacity.cpu, _CPU_UNITS) <= MAX_CPUS:
        raise DevclusterError(
            f"A node cannot offer {capacity.cpu!r} CPUs; give --cpu a number up to {MAX_CPUS}, "
            "such as 4 or 500m."
        )
    if not 0 < _amount(capacity.memory, _MEMORY_UNITS) <= MAX_MEMORY_BYTES:
        raise DevclusterError(
            f"A node cannot offer {capacity.memory!r} of memory; give --memory a quantity up to "
            "1024Ti, such as 16Gi or 800Mi."
        )
    if not 0 <= capacity.gpus <= MAX_GPUS:
        raise DevclusterError(
            f"A node cannot offer {capacity.gpus} GPUs; give --gpus a number from 0 to {MAX_GPUS}."
        )


def _amount(text: str, units: dict[str, float]) -> float:
    """A Kubernetes quantity as a number; 0 for what is none."""
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        return 0.0
    return float(match[1]) * units[match[2]]
