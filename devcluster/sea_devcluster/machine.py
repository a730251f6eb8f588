"""The machine's memory, processors and GPUs, from /proc, /sys, /dev and the container's limits.

Also used, before any package is installed, by `scripts/setup.py` under whatever Python the machine
has: standard library only, Python 3.9.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_UNLIMITED = 1 << 60
_CGROUP = Path("/sys/fs/cgroup")
_LIMITS = (_CGROUP / "memory.max", _CGROUP / "memory" / "memory.limit_in_bytes")
_USAGES = (_CGROUP / "memory.current", _CGROUP / "memory" / "memory.usage_in_bytes")
_STATISTICS = (_CGROUP / "memory.stat", _CGROUP / "memory" / "memory.stat")
SHM = Path("/dev/shm")  # noqa: S108  the machine's tmpfs, not a temporary file


def memory_info(text: str) -> dict[str, int]:
    """Bytes by name, from the text of /proc/meminfo."""
    rows = re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)
    return {name: int(kilobytes) * 1024 for name, kilobytes in rows}


def total_memory() -> int:
    """Bytes that programs may use: the machine's memory or the container's limit."""
    total = memory_info(Path("/proc/meminfo").read_text())["MemTotal"]
    return min(total, _first_number(_LIMITS, _UNLIMITED))


def available_memory() -> int:
    """Bytes that can be allocated now without swapping or reaching a container's limit."""
    available = memory_info(Path("/proc/meminfo").read_text())["MemAvailable"]
    limit = _first_number(_LIMITS, _UNLIMITED)
    if limit >= _UNLIMITED:
        return available
    return min(available, limit - _first_number(_USAGES, 0) + _reclaimable())


def _reclaimable() -> int:
    """Bytes of page cache that count as used but are freed on demand."""
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


def gpu_count() -> int:
    """Number of NVIDIA GPUs, by their device files."""
    return len([path for path in Path("/dev").glob("nvidia*") if path.name[6:].isdigit()])


def processor_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))
