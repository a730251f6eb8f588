"""The bubblewrap command of one container. Pure but for what `mounts` reads."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import SandboxError
from .mounts import Mount, mount_arguments, root_arguments

NAMESPACES = ("--unshare-pid", "--unshare-ipc", "--unshare-uts")


@dataclass(frozen=True)
class Sandbox:
    """What one container runs and sees."""

    hostname: str
    command: Sequence[str]
    mounts: Sequence[Mount] = ()
    """Volumes, in any order; they win over what is below."""
    hosts_file: Path | None = None
    shm: Path | None = None
    termination_log: tuple[Path, str] | None = None
    image_mounts: Sequence[str] = ()
    """Host paths made visible read-only although they lie below /tmp or /run."""
    hidden: Sequence[Path] = ()
    """Host folders the container must not see: other pods' volumes."""
    devices: Sequence[str] = ()
    working_dir: str | None = None

    def arguments(self, bwrap: str) -> list[str]:
        """The whole command line, beginning with the path of bubblewrap."""
        workdir = self.working_dir or "/"
        return [
            bwrap,
            *("--die-with-parent", "--new-session", *NAMESPACES, "--hostname", self.hostname),
            *root_arguments(),
            *[part for device in self.devices for part in ("--dev-bind-try", device, device)],
            *mount_arguments(self._all_mounts()),
            *("--chdir", workdir, "--", *self.command),
        ]

    def _all_mounts(self) -> list[Mount]:
        """Later ones win where two share a mount point."""
        mounts = [Mount(str(folder)) for folder in self.hidden if folder.is_dir()]
        mounts += [Mount(path, path, read_only=True) for path in self.image_mounts]
        if self.hosts_file:
            mounts.append(Mount("/etc/hosts", str(self.hosts_file), read_only=True))
        if self.shm:
            mounts.append(Mount("/dev/shm", str(self.shm)))  # noqa: S108
        if self.termination_log:
            source, destination = self.termination_log
            mounts.append(Mount(destination, str(source)))
        mounts += self.mounts
        if self.working_dir and not self._exists(self.working_dir):
            # Container runtimes create a working directory that the image doesn't have.
            mounts.append(Mount(self.working_dir))
        return mounts

    def _exists(self, path: str) -> bool:
        covered = any(Path(path).is_relative_to(mount.destination) for mount in self.mounts)
        return covered or Path(path).is_dir()


def find_bwrap() -> str:
    """Path of bubblewrap; SandboxError says how to get it."""
    found = shutil.which("bwrap")
    if found is None:
        message = "bubblewrap (bwrap) isn't installed: `apt-get install bubblewrap` or the like."
        raise SandboxError(message)
    return found
