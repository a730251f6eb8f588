"""What this machine has: processors, memory, GPUs. Read once, from /proc, /sys and /dev."""

import os
from pathlib import Path

from sea_devcluster.memory import total_memory
from sea_devcluster.records import Capacity

SHM = Path("/dev/shm")  # noqa: S108  the machine's tmpfs, not a temporary file


def memory_root(subnet: int, number: int | str) -> Path:
    """Folder on the tmpfs for node `number` of the cluster in 127.`subnet`.

    Named by the subnet: two clusters may have one name in different state folders.
    """
    return SHM / f"sea-devcluster-{os.getuid()}-{subnet}-{number}"


def gpu_count() -> int:
    """NVIDIA GPUs whose device files exist."""
    return len([path for path in Path("/dev").glob("nvidia*") if path.name[6:].isdigit()])


def capacity() -> Capacity:
    """The whole machine as one node's capacity."""
    processors = len(os.sched_getaffinity(0))
    return Capacity(str(processors), f"{total_memory() // 2**20}Mi", gpu_count())
