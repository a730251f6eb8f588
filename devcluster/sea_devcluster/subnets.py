"""The part of 127.0.0.0/8 that a cluster uses: `127.A`, with A claimed in a file of this user.

    127.A.0.1        API server, etcd and the other servers
    127.A.0.2        S3
    127.A.0.(10+n)   node n
    127.A.n.0/24     pods of node n

A claim is valid while the state folder that it names exists, so a machine that was switched off
leaves no claim behind. Clusters of other users are found by the addresses that listen.
"""

import os
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sea_devcluster.errors import StartError
from sea_devcluster.locks import exclusive
from sea_devcluster.machine import SHM
from sea_devcluster.paths import private_folder, write_private

# 127.0 and 127.1 hold the machine's own names; 127.53 looks like systemd's resolver.
FIRST, LAST = 60, 250
MAX_NODES = 200
# Fixed, not the TMPDIR of some shell: clusters of one user that don't see each other's claims would
# take each other's addresses.
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
    """The subnet of the cluster whose state folder is `owner`; claims a free one if it has none.

    Args:
        owner: The cluster's state folder.
        wanted: A of the subnet that it had before and that its files name. The claim may be gone,
            since machines empty their /tmp.

    Raises:
        StartError: All are taken, or the wanted one is.
    """
    with _registry() as folder:
        claims = _valid_claims(folder)
        second = wanted if wanted is not None else _held(claims, owner)
        if second is None:
            # Other users' claims are unreadable, so what listens counts as taken.
            taken = set(claims) | listening(Path("/proc/net/tcp").read_text())
            second = choose(taken, FIRST + os.getuid() % (LAST - FIRST + 1))
        if (holder := claims.get(second, str(owner))) != str(owner):
            raise StartError(
                f"127.{second}, where this cluster was, now belongs to the one in {holder}; "
                "take one of them down (`python -m sea_devcluster down --name NAME`) and up again."
            )
        # Under the registry's lock, like the choice: two clusters can't choose the same one.
        write_private(folder / str(second), str(owner))
        return Subnet(second)


def claimed(owner: Path) -> int | None:
    """A of the subnet that the cluster in `owner` has claimed, None if it has none."""
    with _registry() as folder:
        return _held(_valid_claims(folder), owner)


def release(owner: Path) -> None:
    """Releases what the cluster in `owner` has claimed."""
    with _registry() as folder:
        for second, holder in _valid_claims(folder).items():
            if holder == str(owner):
                (folder / str(second)).unlink()


def choose(taken: Container[int], start: int = FIRST) -> int:
    """The first free A from `start` on, then those below.

    Each user starts at another A: another user's claims can't be read, only what listens already.
    """
    for second in (*range(start, LAST + 1), *range(FIRST, start)):
        if second not in taken:
            return second
    raise StartError(
        f"All of 127.{FIRST} to 127.{LAST} are in use by devclusters; stop some with "
        "`python -m sea_devcluster down --name NAME`."
    )


def listening(proc_net_tcp: str) -> set[int]:
    """Every A of an address 127.A.x.y that is listened on, from the text of /proc/net/tcp."""
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
        if Path(holder).is_absolute() and Path(holder).is_dir():  # a truncated file is no claim
            claims[int(path.name)] = holder
        else:
            # The cluster's folder is gone, or the file is truncated.
            path.unlink()
    return claims


@contextmanager
def _registry() -> Iterator[Path]:
    """The locked folder of claims: shared by all state folders of this user on this machine."""
    folder = private_folder(REGISTRY_PARENT / f"sea-devcluster-{os.getuid()}")
    # /tmp is writable by all: someone else may have created the folder first.
    if folder.stat().st_uid != os.getuid():
        raise StartError(
            f"{folder} belongs to another user, who could hand out addresses in your name; have it "
            "removed."
        )
    with exclusive(folder / "lock"):
        yield folder


def memory_root(subnet: int, number: int | str) -> Path:
    """Folder on the tmpfs for node `number` of the cluster in 127.`subnet`.

    Named by the subnet: two clusters in different state folders may have the same name.
    """
    return SHM / f"sea-devcluster-{os.getuid()}-{subnet}-{number}"
