"""Process identities that survive their parent: a PID, its start time and the boot it belongs to.

`up` starts daemons and exits; `down`, perhaps days later, must stop exactly those and never a
stranger that got the same number. A signal goes through a pidfd whose start time was compared
after it was opened, so it cannot reach a recycled PID.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DEAD_STATES = frozenset("ZXx")  # a zombie has ended; only its parent has not looked yet


@dataclass(frozen=True)
class ProcessId:
    """One process of one boot of this machine."""

    pid: int
    start_ticks: int
    """Field 22 of `/proc/PID/stat`: clock ticks from boot to the process's start."""
    boot: str
    """The kernel's boot id: after a reboot the same pair may name another program."""

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """Identity of a process that runs now.

        Raises:
            ProcessLookupError: There is none.
        """
        stat = read_stat(pid)
        if stat is None:
            raise ProcessLookupError(pid)
        return cls(pid, stat.start_ticks, boot_id())

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not, once all of its threads have ended."""
        stat = read_stat(self.pid)
        return (
            stat is not None
            and stat.start_ticks == self.start_ticks
            and (stat.state not in _DEAD_STATES or stat.threads > 1)
            and self.boot == boot_id()
        )

    def send(self, number: signal.Signals) -> bool:
        """Sends a signal; False if the process is gone."""
        with _open_pidfd(self.pid) as descriptor:
            if descriptor is None or not self.alive():
                return False
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
        return True

    def wait(self, timeout: float) -> bool:
        """Waits up to `timeout` seconds for its end; True if it has ended."""
        deadline = time.monotonic() + timeout
        with _open_pidfd(self.pid) as descriptor:
            while self.alive():
                remaining = deadline - time.monotonic()
                if descriptor is None or remaining <= 0:
                    return not self.alive()
                select.select([descriptor], [], [], min(remaining, 1.0))
        return True


@dataclass(frozen=True)
class Stat:
    """What `/proc/PID/stat` says about a process."""

    state: str
    parent: int
    threads: int
    """A zombie's others may not have ended: until then its ports and files are open."""
    start_ticks: int


def parse_stat(text: str) -> Stat:
    """Parses `/proc/PID/stat`; the program's name may itself hold spaces and brackets."""
    fields = text.rpartition(")")[2].split()
    return Stat(
        state=fields[0],
        parent=int(fields[1]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
    )


def read_stat(pid: int) -> Stat | None:
    """State of a process, None if there is none with this number."""
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text(errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def boot_id() -> str:
    """The kernel's random id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def descendants(root: ProcessId) -> list[ProcessId]:
    """All living children of a process, their children and so on; without itself."""
    by_parent: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := read_stat(int(entry.name))):
            by_parent.setdefault(stat.parent, []).append(int(entry.name))
    found: list[ProcessId] = []
    pending = [root.pid] if root.alive() else []
    while pending:
        for pid in by_parent.get(pending.pop(), []):
            with contextlib.suppress(ProcessLookupError):
                found.append(ProcessId.of(pid))
                pending.append(pid)
    return found


def end(process: ProcessId, grace: float) -> bool:
    """SIGTERM, `grace` seconds, SIGKILL; True if it ended within its grace."""
    process.send(signal.SIGTERM)
    if process.wait(grace):
        return True
    process.send(signal.SIGKILL)
    process.wait(10.0)
    return False


def end_family(process: ProcessId, grace: float) -> bool:
    """Ends a process and then what is left of its descendants; True if it ended in its grace."""
    family = descendants(process)
    in_time = end(process, grace)
    for member in family:
        end(member, 2.0)
    return in_time


@contextlib.contextmanager
def _open_pidfd(pid: int) -> Iterator[int | None]:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
