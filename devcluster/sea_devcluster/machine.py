"""What this machine has: processors, memory, GPUs. Read once, from /proc, /sys and /dev."""

import os
import re
from pathlib import Path

from sea_devcluster.records import Capacity

SHM = Path("/dev/shm")  # noqa: S108  the machine's tmpfs, not a temporary file
_UNLIMITED = 1 << 60
_CGROUP = Path("/sys/fs/cgroup")
_LIMITS = (_CGROUP / "memory.max", _CGROUP / "memory" / "memory.limit_in_bytes")
_USAGES = (_CGROUP / "memory.current", _CGROUP / "memory" / "memory.usage_in_bytes")
_STATISTICS = (_CGROUP / "memory.stat", _CGROUP / "memory" / "memory.stat")


def memory_info(text: str) -> dict[str, int]:
    """Bytes by name, from the text of /proc/meminfo."""
    rows = re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)
    return {name: int(kilobytes) * 1024 for name, kilobytes in rows}


def total_memory() -> int:
    """Bytes that programs here may use at most: the machine's, or the container's limit."""
    total = memory_info(Path("/proc/meminfo").read_text())["MemTotal"]
    return min(total, _first_number(_LIMITS, _UNLIMITED))


def available_memory() -> int:
    """Bytes that can be allocated now without swapping or meeting a container's limit."""
    available = memory_info(Path("/proc/meminfo").read_text())["MemAvailable"]
    limit = _first_number(_LIMITS, _UNLIMITED)
    if limit >= _UNLIMITED:
        return available
    return min(available, limit - _first_number(_USAGES, 0) + _reclaimable())


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


def _reclaimable() -> int:
    """Bytes of files in the page cache that count as used but are given up on demand."""
    for file in _STATISTICS:
        if file.exists():
            match = re.search(r"^(?:total_)?inactive_file (\d+)$", file.read_text(), re.MULTILINE)
            return int(match[1]) if match else 0
    return 0


def _first_number(files: tuple[Path, ...], fallback: int) -> int:
    for file in files:
        try:
            return int(file.read_text())
        except (OSError, ValueError):  # cgroup v2 writes "max" for no limit
            continue
    return fallback
