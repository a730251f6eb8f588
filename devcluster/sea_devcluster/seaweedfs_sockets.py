"""Workaround for SeaweedFS 4.48: it leaves its gRPC sockets in `/tmp`.

For each of its gRPC ports it makes `/tmp/seaweedfs-ROLE-grpc-PORT.sock`; no option moves them and
only a graceful end, which takes the filer 15 s, removes all. `tests/devcluster/test_s3.py` fails
when a newer version no longer leaves them, and then this file can go.
"""

from collections.abc import Iterable
from pathlib import Path

VERSION = "4.48"
_FOLDER = Path("/tmp")  # noqa: S108  hard-coded in SeaweedFS
_ROLES = ("master", "volume", "filer", "s3")


def socket_files(ports: Iterable[int]) -> list[Path]:
    """Where the sockets of a server with these ports may lie."""
    return [_FOLDER / f"seaweedfs-{role}-grpc-{port}.sock" for port in ports for role in _ROLES]


def remove_sockets(ports: Iterable[int]) -> None:
    """Removes what a stopped server with these ports left."""
    for path in socket_files(ports):
        path.unlink(missing_ok=True)
