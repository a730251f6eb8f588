"""Stops a cluster whose records are broken or lost.

A process is found by its own record if that can still be read, and else in the kernel's list of
processes: every daemon has the cluster's folder in its arguments and as its working directory.
"""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from sea_devcluster import subnets
from sea_devcluster.components import API_SERVER, COMPONENTS, ETCD
from sea_devcluster.daemons import Daemon
from sea_devcluster.errors import RecordError
from sea_devcluster.processes import ProcessId, end_family
from sea_devcluster.s3 import S3Server
from sea_devcluster.seaweedfs_sockets import remove_sockets

GRACE_SECONDS = 10.0
_PROGRAMS = frozenset({*COMPONENTS, "weed"})
_AGENT = "sea_devcluster.node"


def stop_found(folder: Path) -> None:
    """Stops every daemon whose record can be read; removes memory volumes and sockets."""
    names = [path.stem for path in (folder / "run").glob("*.json")]
    for name in sorted(names, key=_stop_rank):
        with suppress(RecordError):  # `end_strays` finds it by its folder
            Daemon(folder, name).stop(GRACE_SECONDS)
    # Without its ports the sockets can't be named; they are only leftovers in /tmp.
    with suppress(RecordError, FileNotFoundError):
        remove_sockets(S3Server(folder).settings.ports)
    subnet = subnets.claimed(folder)
    if subnet is not None:
        pattern = subnets.memory_root(subnet, "*")
        for memory in pattern.parent.glob(pattern.name):
            shutil.rmtree(memory, ignore_errors=True)


def end_strays(folder: Path) -> None:
    """Ends the daemons of the cluster in `folder` that no record names."""
    for process in strays(folder):
        end_family(process, GRACE_SECONDS)


def strays(folder: Path) -> list[ProcessId]:
    """This user's processes that are daemons of the cluster in `folder`."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline", "uids"]):
        cwd, argv, uids = (process.info[name] for name in ("cwd", "cmdline", "uids"))
        ours = cwd and argv and uids and uids.effective == os.getuid()
        if ours and is_daemon(argv, Path(cwd), folder):
            with suppress(ProcessLookupError):  # it has ended
                found.append(ProcessId.of(process.pid))
    return found


def is_daemon(argv: Sequence[str], cwd: Path, folder: Path) -> bool:
    """True if a process is a daemon of the cluster in `folder`, not a person's `tail` or shell.

    Args:
        argv: Its arguments.
        cwd: Its working directory.
        folder: The cluster's state folder.
    """
    ours = Path(argv[0]).name in _PROGRAMS or _AGENT in argv
    named = any(f"{folder}/" in argument for argument in argv[1:])
    # All three: a program of the same name in another cluster, or a person's `tail`, must not be
    # ended.
    return ours and named and cwd.is_relative_to(folder)


def _stop_rank(name: str) -> int:
    """Clients stop before the servers that they need."""
    return {API_SERVER: 1, ETCD: 2}.get(name, 0)
