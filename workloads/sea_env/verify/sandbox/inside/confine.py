"""Takes everything away from a fresh fork before it runs a function."""

import ctypes
import io
import os
import resource
import sys
from typing import Any

from . import seccomp

_MAX_DESCRIPTOR = 1 << 16


def confine(keep: int, cpu_s: int, memory_bytes: int, output_bytes: int) -> None:
    """One open file, bounded time and memory, and the system calls of `seccomp.NAMES`.

    Raises OSError if one of them can't be set.
    """
    # Descriptors first: the zygote's stdin and stdout, through which frames go, must be out of
    # reach.
    os.closerange(0, keep)
    os.closerange(keep + 1, _MAX_DESCRIPTOR)
    # SIGXCPU at the soft limit, SIGKILL one second later for a function that ignores it.
    _limit(resource.RLIMIT_CPU, cpu_s, cpu_s + 1)
    # The databases of the waiting process came with the fork and don't count as the function's.
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    _limit(resource.RLIMIT_AS, inherited + memory_bytes, inherited + memory_bytes)
    # No process, no bytes to a file, no core dump. RLIMIT_FSIZE doesn't apply to pipes.
    for kind in (resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        _limit(kind, 0, 0)
    # One above the highest open number: no other can be opened, and `keep` stays valid.
    _limit(resource.RLIMIT_NOFILE, keep + 1, keep + 1)
    # After closerange: Python's own objects refer to descriptors that are closed now.
    sys.stdin, sys.stdout = io.StringIO(), Sink(output_bytes)
    sys.stderr = sys.stdout
    # The filter last: setrlimit, for one, isn't on its list.
    seccomp.install()
    # No wall, only less to stumble over: the filter is what confines.
    _forget(ctypes.__name__, "_ctypes")


def _limit(kind: int, soft: int, hard: int) -> None:
    # A container may have a lower hard limit, which an ordinary process can't raise.
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(kind, (soft, hard))


def _forget(*names: str) -> None:
    for name in names:
        sys.modules.pop(name, None)


class Sink(io.TextIOBase):
    """Discards what the function prints; raises OSError after too much of it."""

    def __init__(self, left: int) -> None:
        self._left = left

    def write(self, text: Any) -> int:
        self._left -= len(text)
        if self._left < 0:
            raise OSError("The function prints too much.")
        return len(text)
