"""Workaround for SeaweedFS 4.48: it leaves its gRPC sockets in `/tmp`.

For each of its gRPC ports it creates `/tmp/seaweedfs-ROLE-grpc-PORT.sock`; no option moves them,
and only a graceful shutdown, which takes the filer 15 s, removes them.
`tests/devcluster/test_s3.py` fails when a newer version leaves none; then this file can be
deleted.
"""

from collections.abc import Iterable
from pathlib import Path

VERSION = "4.48"
_FOLDER = Path("/tmp")  # noqa: S108  hard-coded in SeaweedFS
_ROLES = ("master", "volume", "filer", "s3")


def socket_files(ports: Iterable[int]) -> list[Path]:
    """Paths of the sockets of a server with these ports."""
    return [_FOLDER / f"seaweedfs-{role}-grpc-{port}.sock" for port in ports for role in _ROLES]


def remove_sockets(ports: Iterable[int]) -> None:
    """Removes the sockets that a stopped server with these ports left."""
    for path in socket_files(ports):
        path.unlink(missing_ok=True)
