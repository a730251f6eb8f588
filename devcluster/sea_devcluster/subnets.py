"""Which part of 127.0.0.0/8 a cluster uses: `127.A`, with A claimed in a file of this user.

    127.A.0.1        API server, etcd and the other servers
    127.A.0.2        S3
    127.A.0.(10+n)   node n
    127.A.n.0/24     pods of node n

A claim is valid while the state folder that it names exists, so a machine that was switched off
in the middle leaves no claim behind. Clusters of other users are seen by what listens.
"""

import fcntl
import os
import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sea_devcluster.errors import StartError
from sea_devcluster.paths import private_folder

# 127.0 and 127.1 hold the machine's own names; 127.53 looks like systemd's resolver.
FIRST, LAST = 60, 250
MAX_NODES = 200


@dataclass(frozen=True)
class Subnet:
    """`127.A.0.0/16`."""

    second: int

    @property
    def control_plane(self) -> str:
        """Address of the API server."""
        return f"127.{self.second}.0.1"

    @property
    def s3(self) -> str:
        """Address of the object store."""
        return f"127.{self.second}.0.2"

    def node(self, number: int) -> str:
        """Address of node `number` (from 1)."""
        assert 1 <= number <= MAX_NODES
        return f"127.{self.second}.0.{10 + number}"

    def pods(self, number: int) -> str:
        """Network of the pods of node `number` (from 1)."""
        assert 1 <= number <= MAX_NODES
        return f"127.{self.second}.{number}.0/24"


def claim(owner: Path) -> Subnet:
    """The subnet of the cluster whose state lies in `owner`; claims a free one if it has none.

    Raises:
        StartError: All are taken.
    """
    with _registry() as folder:
        claims = _valid_claims(folder)
        for second, holder in claims.items():
            if holder == str(owner):
                return Subnet(second)
        taken = set(claims) | listening(Path("/proc/net/tcp").read_text())
        second = choose(taken)
        (folder / str(second)).write_text(str(owner))
        return Subnet(second)


def release(owner: Path) -> None:
    """Gives back what the cluster in `owner` claimed."""
    with _registry() as folder:
        for second, holder in _valid_claims(folder).items():
            if holder == str(owner):
                (folder / str(second)).unlink()


def choose(taken: Container[int]) -> int:
    """The first free A."""
    for second in range(FIRST, LAST + 1):
        if second not in taken:
            return second
    raise StartError(
        f"All of 127.{FIRST} to 127.{LAST} are in use by devclusters; stop some with "
        "`python -m sea_devcluster down --name NAME`."
    )


def listening(proc_net_tcp: str) -> set[int]:
    """All A of addresses 127.A.x.y on which somebody listens, from the text of /proc/net/tcp."""
    found = set()
    for line in proc_net_tcp.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[3] == "0A":  # LISTEN
            # The kernel prints the address as one little-endian number.
            octets = bytes.fromhex(fields[1].split(":")[0])[::-1]
            if octets[0] == 127:
                found.add(octets[1])
    return found


def _valid_claims(folder: Path) -> dict[int, str]:
    claims = {}
    for path in folder.iterdir():
        if not path.name.isdigit():
            continue
        holder = path.read_text()
        if Path(holder).is_dir():
            claims[int(path.name)] = holder
        else:
            path.unlink()
    return claims


@contextmanager
def _registry() -> Iterator[Path]:
    """The folder of claims, locked: shared by all state folders of this user on this machine."""
    folder = private_folder(Path(tempfile.gettempdir()) / f"sea-devcluster-{os.getuid()}")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
