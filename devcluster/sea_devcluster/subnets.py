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
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sea_devcluster.errors import StartError
from sea_devcluster.paths import private_folder, write_private

# 127.0 and 127.1 hold the machine's own names; 127.53 looks like systemd's resolver.
FIRST, LAST = 60, 250
MAX_NODES = 200
# Fixed, not the TMPDIR of some shell: clusters of one user that don't see each other's claims take
# each other's addresses.
REGISTRY_PARENT = Path("/tmp")  # noqa: S108  in a folder of this user alone


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


def claim(owner: Path, wanted: int | None = None) -> Subnet:
    """The subnet of the cluster whose state lies in `owner`; claims a free one if it has none.

    Args:
        owner: The cluster's state folder.
        wanted: A of the subnet that it had before and that is written all over its files. The claim
            may be gone, since machines empty their /tmp.

    Raises:
        StartError: All are taken, or the wanted one is.
    """
    with _registry() as folder:
        claims = _valid_claims(folder)
        second = wanted if wanted is not None else _held(claims, owner)
        if second is None:
            taken = set(claims) | listening(Path("/proc/net/tcp").read_text())
            second = choose(taken, FIRST + os.getuid() % (LAST - FIRST + 1))
        if (holder := claims.get(second, str(owner))) != str(owner):
            raise StartError(
                f"127.{second}, where this cluster was, belongs to the one in {holder} by now; "
                "take one of them down (`python -m sea_devcluster down --name NAME`) and up again."
            )
        write_private(folder / str(second), str(owner))
        return Subnet(second)


def claimed(owner: Path) -> int | None:
    """A of the subnet that the cluster in `owner` holds, None if it holds none."""
    with _registry() as folder:
        return _held(_valid_claims(folder), owner)


def release(owner: Path) -> None:
    """Gives back what the cluster in `owner` claimed."""
    with _registry() as folder:
        for second, holder in _valid_claims(folder).items():
            if holder == str(owner):
                (folder / str(second)).unlink()


def choose(taken: Container[int], start: int = FIRST) -> int:
    """The first free A from `start` on, then those below.

    Each user starts elsewhere: nobody sees another user's claims, only what listens already.
    """
    for second in (*range(start, LAST + 1), *range(FIRST, start)):
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


def _held(claims: Mapping[int, str], owner: Path) -> int | None:
    return next((second for second, holder in claims.items() if holder == str(owner)), None)


def _valid_claims(folder: Path) -> dict[int, str]:
    claims = {}
    for path in folder.iterdir():
        if not path.name.isdigit():
            continue
        holder = path.read_text()
        if Path(holder).is_absolute() and Path(holder).is_dir():  # a cut file is no claim
            claims[int(path.name)] = holder
        else:
            path.unlink()
    return claims


@contextmanager
def _registry() -> Iterator[Path]:
    """The folder of claims, locked: shared by all state folders of this user on this machine."""
    folder = private_folder(REGISTRY_PARENT / f"sea-devcluster-{os.getuid()}")
    if folder.stat().st_uid != os.getuid():
        raise StartError(
            f"{folder} belongs to another user, who could hand out addresses in your name; have it "
            "removed."
        )
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
