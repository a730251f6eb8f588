"""The bubblewrap command of one container, and the file system that the container sees.

bubblewrap begins with an empty tmpfs as `/`. The host's top-level folders are bound read-only, with
`/tmp` and `/run` new. A mount point that doesn't exist on the host can't be created below a
read-only folder, so the nearest existing folder above it is *opened*: replaced by a tmpfs into
which its entries are bound one by one.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sea_devcluster.errors import DevclusterError

OWN_FOLDERS = ("/proc", "/dev", "/tmp", "/run")  # noqa: S108 - mount points, not files of ours
# Each entry is a bind of its own: thousands take seconds and may exceed the argument list.
MAX_OPENED_ENTRIES = 1000
# No --unshare-net: pods are addresses of the host's loopback.
NAMESPACES = ("--unshare-pid", "--unshare-ipc", "--unshare-uts")


class SandboxError(DevclusterError):
    """A container couldn't be started."""


@dataclass(frozen=True)
class Mount:
    """`source` on the host appears at `destination`; without a source, a new tmpfs."""

    destination: str
    source: str | None = None
    read_only: bool = False


def resolve(destination: str) -> str:
    """The real path of a mount point: on Debian /var/run/secrets is /run/secrets."""
    return os.path.realpath(destination)


def root_arguments() -> Iterator[str]:
    """The host's top level, read-only, and the folders that every container has for itself."""
    for entry in _entries("/"):
        if entry.path not in OWN_FOLDERS:
            yield from _bind_entry(entry)
    yield from ("--proc", "/proc", "--dev", "/dev")
    for fresh in ("/tmp", "/run"):  # noqa: S108
        yield from ("--tmpfs", fresh)


def mount_arguments(mounts: Iterable[Mount]) -> Iterator[str]:
    """Mounts from the shallowest to the deepest; opens folders where that is necessary."""
    resolved = {resolve(mount.destination): mount for mount in mounts}
    # Shallow first: a mount hides everything that was mounted below its own point before.
    ordered = sorted(resolved, key=_depth)
    # Before all mounts, which need their mount points to exist.
    for folder in folders_to_open(ordered):
        yield from _open(folder)
    for destination in ordered:
        mount = resolved[destination]
        if mount.source is None:
            yield from ("--tmpfs", destination)
        else:
            yield from ("--ro-bind" if mount.read_only else "--bind", mount.source, destination)


def folders_to_open(destinations: Iterable[str]) -> list[str]:
    """Existing host folders that must be opened so that the mount points can be created."""
    opened = set()
    for destination in destinations:
        fresh = any(PurePosixPath(destination).is_relative_to(one) for one in OWN_FOLDERS)
        if not fresh and not os.path.lexists(destination):
            parent = PurePosixPath(destination).parent
            while not os.path.lexists(parent):
                parent = parent.parent
            opened.add(str(parent))
    return sorted(opened - {"/"}, key=_depth)


def _open(folder: str) -> Iterator[str]:
    entries = list(_entries(folder))
    if len(entries) > MAX_OPENED_ENTRIES:
        message = (
            f"A volume can't be mounted into {folder}: it has {len(entries)} entries on the host, "
            f"more than {MAX_OPENED_ENTRIES}. Mount it somewhere else, for instance below /sea."
        )
        raise SandboxError(message)
    yield from ("--tmpfs", folder)
    for entry in entries:
        yield from _bind_entry(entry)


def _bind_entry(entry: os.DirEntry[str]) -> Iterator[str]:
    if entry.is_symlink():
        yield from ("--symlink", str(Path(entry.path).readlink()), entry.path)
    else:
        # -try: an entry may vanish between the scan and the start of bubblewrap.
        yield from ("--ro-bind-try", entry.path, entry.path)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def _depth(path: str) -> tuple[int, str]:
    return path.count("/"), path


@dataclass(frozen=True)
class Sandbox:
    """What one container runs and sees."""

    hostname: str
    command: Sequence[str]
    mounts: Sequence[Mount] = ()
    """Volumes, in any order; they take precedence over the fields below."""
    hosts_file: Path | None = None
    shm: Path | None = None
    termination_log: tuple[Path, str] | None = None
    image_mounts: Sequence[str] = ()
    """Host paths below /tmp or /run that are visible read-only."""
    hidden: Sequence[Path] = ()
    """Host folders that the container must not see: other pods' volumes."""
    working_dir: str | None = None

    def arguments(self, bwrap: str) -> list[str]:
        """The whole command line, beginning with the path of bubblewrap."""
        workdir = self.working_dir or "/"
        return [
            bwrap,
            # --die-with-parent is PR_SET_PDEATHSIG: no container survives an agent that is killed.
            *("--die-with-parent", "--new-session", *NAMESPACES, "--hostname", self.hostname),
            *root_arguments(),
            *mount_arguments(self._all_mounts()),
            *("--chdir", workdir, "--", *self.command),
        ]

    def _all_mounts(self) -> list[Mount]:
        """All mounts; of two with one mount point the later takes precedence."""
        mounts = [Mount(str(folder)) for folder in self.hidden if folder.is_dir()]
        mounts += [Mount(path, path, read_only=True) for path in self.image_mounts]
        if self.hosts_file:
            mounts.append(Mount("/etc/hosts", str(self.hosts_file), read_only=True))
        if self.shm:
            mounts.append(Mount("/dev/shm", str(self.shm)))  # noqa: S108
        if self.termination_log:
            source, destination = self.termination_log
            mounts.append(Mount(destination, str(source)))
        # Last: a volume takes precedence over everything above.
        mounts += self.mounts
        if self.working_dir and not self._exists(self.working_dir):
            # Container runtimes create a working directory that the image doesn't have.
            mounts.append(Mount(self.working_dir))
        return mounts

    def _exists(self, path: str) -> bool:
        covered = any(Path(path).is_relative_to(mount.destination) for mount in self.mounts)
        return covered or Path(path).is_dir()


def find_bwrap() -> str:
    """Path of bubblewrap.

    Raises:
        SandboxError: It isn't installed.
    """
    found = shutil.which("bwrap")
    if found is None:
        message = "bubblewrap (bwrap) isn't installed: `apt-get install bubblewrap` or the like."
        raise SandboxError(message)
    return found
