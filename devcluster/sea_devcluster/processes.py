"""Process identities that survive their parent: a PID, its start time and the boot it belongs to.

`up` starts daemons and exits; `down`, perhaps days later, must stop exactly those and never another
process that got the same PID.
"""

import contextlib
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

KILL_SECONDS = 10.0
"""How long SIGKILL may take: a process in a system call ends when the call returns."""
POLL_SECONDS = 0.02
_CLOCK_TOLERANCE_SECONDS = 1.5
"""psutil derives both times from the wall clock, which may be adjusted between two reads."""


@dataclass(frozen=True)
class ProcessId:
    """One process of one boot of this machine."""

    pid: int
    started: float
    """Seconds from the machine's boot to the process's start."""
    boot: str
    """The kernel's boot id: after a reboot the same pair may identify another process."""

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """Identity of a running process.

        Raises:
            ProcessLookupError: There is no such process.
        """
        try:
            return cls(pid, _started(psutil.Process(pid)), boot_id())
        except psutil.Error:
            raise ProcessLookupError(pid) from None

    def find(self) -> psutil.Process | None:
        """The process, None if it has ended."""
        try:
            process = psutil.Process(self.pid)
            # PID, start time and boot together: any of them alone may be another process's.
            recycled = abs(_started(process) - self.started) > _CLOCK_TOLERANCE_SECONDS
            if recycled or self.boot != boot_id() or _is_dead(process):
                return None
        except psutil.Error:
            return None
        return process

    def alive(self) -> bool:
        """True while it runs. A zombie has ended, once all of its threads have."""
        return self.find() is not None

    def send(self, number: signal.Signals) -> bool:
        """Sends a signal; False if the process has ended."""
        process = self.find()
        if process is None:
            return False
        try:
            process.send_signal(number)  # compares the start time again
        except psutil.NoSuchProcess:
            return False
        return True

    def wait(self, timeout: float) -> bool:
        """Waits up to `timeout` seconds for its end; True if it has ended."""
        deadline = time.monotonic() + timeout
        # Not psutil's wait: that reaps a child, whose exit code `Daemon` still wants.
        while self.alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


def boot_id() -> str:
    """The kernel's random id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def descendants(root: ProcessId) -> list[ProcessId]:
    """All running children of a process, their children and so on; without the process itself."""
    process = root.find()
    if process is None:
        return []
    found = []
    for child in process.children(recursive=True):
        with contextlib.suppress(ProcessLookupError):
            found.append(ProcessId.of(child.pid))
    return found


def end(process: ProcessId, grace: float) -> bool:
    """Sends SIGTERM, and SIGKILL after `grace` seconds; True if it ended within its grace."""
    # SIGTERM first: the node agent stops its pods, etcd closes its files.
    process.send(signal.SIGTERM)
    if process.wait(grace):
        return True
    process.send(signal.SIGKILL)
    # Waited for: ports and files must be free when this returns.
    process.wait(KILL_SECONDS)
    return False


def end_family(process: ProcessId, grace: float) -> bool:
    """Ends a process, then what is left of its descendants; True if it ended within its grace."""
    family = descendants(process)  # before it ends: its children would get another parent
    in_time = end(process, grace)
    # After their parent, which may stop them in an order of its own.
    for member in family:
        end(member, 2.0)
    return in_time


def _started(process: psutil.Process) -> float:
    return round(process.create_time() - psutil.boot_time(), 2)  # the kernel counts 1/100 s


def _is_dead(process: psutil.Process) -> bool:
    """A zombie whose other threads have ended: until then its ports and files are open."""
    return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
