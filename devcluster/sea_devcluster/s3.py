"""The object store of a devcluster: one SeaweedFS process with its own credentials.

    with S3Server(folder) as s3:                   # tests: ends with this program
        s3.create_bucket("runs")
        boto3.client("s3", **s3.client_arguments())

SeaweedFS because it honors conditional writes (If-None-Match, If-Match), on which checkpoint
commits depend. Master, volume server, filer and S3 gateway run in one process, all on one
loopback address, and only the S3 port asks for credentials.
"""

import json
import logging
import secrets
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sea_api.contract import S3_ACCESS_KEY, S3_ENDPOINT_URL, S3_REGION, S3_SECRET_KEY
from sea_devcluster import records
from sea_devcluster.api import get_text
from sea_devcluster.daemons import Command, Daemon
from sea_devcluster.errors import StartError
from sea_devcluster.paths import private_folder, write_private
from sea_devcluster.ports import free_ports, require_free, retry_taken_ports
from sea_devcluster.seaweedfs import (
    PORT_FLAGS,
    Limits,
    Settings,
    arguments,
    environment_of,
    find_weed,
    identities_of,
)
from sea_devcluster.seaweedfs_sockets import remove_sockets
from sea_devcluster.waiting import START_TIMEOUT_SECONDS, wait_until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

NAME = "s3"
REGION = "us-east-1"


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
        """Ports and credentials; available after the first `start`."""
        return records.load_json(self._settings_file, _parse)

    def client_arguments(self) -> dict[str, Any]:
        """Keyword arguments of `boto3.client("s3", ...)`."""
        return {
            "endpoint_url": self.endpoint,
            "aws_access_key_id": self.settings.access_key,
            "aws_secret_access_key": self.settings.secret_key,
            "region_name": REGION,
        }

    def environment(self) -> dict[str, str]:
        """Environment variables by which AWS clients find this server."""
        return {
            S3_ENDPOINT_URL: self.endpoint,
            S3_ACCESS_KEY: self.settings.access_key,
            S3_SECRET_KEY: self.settings.secret_key,
            S3_REGION: REGION,
        }

    def client(self, timeout: float = 10.0, attempts: int = 3) -> "S3Client":
        """A boto3 client with time-outs that ignores proxies and the user's AWS settings."""
        config = Config(
            connect_timeout=timeout,
            read_timeout=timeout,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            # An empty dict turns botocore's proxies from the environment off.
            proxies={},
            s3={"addressing_style": "path"},
        )
        return boto3.client("s3", config=config, **self.client_arguments())

    def create_bucket(self, name: str) -> None:
        """Creates a bucket; one that exists already is fine."""
        client = self.client()
        try:
            client.create_bucket(Bucket=name)
        # S3 servers differ in which of the two they answer.
        except client.exceptions.BucketAlreadyOwnedByYou:
            pass
        except client.exceptions.BucketAlreadyExists:
            pass

    def silent_ports(self) -> list[tuple[str, int]]:
        """Its ports if it ran before and is not running."""
        if self.daemon.alive() or not self._confirmed_file.exists():
            return []
        return [(self.address, port) for port in self.settings.ports]

    # --- life ---

    def launch(self) -> None:
        """Starts the process and returns at once; `start` waits for it. Idempotent."""
        if not self.daemon.alive():
            self._spawn()

    def start(self) -> Self:
        """Starts it, on its old port if it ran before, and waits until it answers. Idempotent.

        Raises:
            StartError: It ended or did not answer in time; carries the end of its log.
        """
        retry_taken_ports(
            self._start_once, confirmed=self._confirmed_file.exists, reset=self._forget_ports
        )
        return self

    def stop(self, grace: float = 1.0) -> None:
        """Stops it; objects stay. Idempotent.

        The filer waits 15 s for its own subscribers before it ends. What it acknowledged has been
        written to the kernel, so it is killed after a short grace period.
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

    @property
    def _confirmed_file(self) -> Path:
        """Exists once clients may know the ports, which then can't change any more."""
        return self.state_dir / "s3.confirmed"

    def _start_once(self) -> None:
        self.launch()
        self._wait_ready()
        # Only now: until it answers, a taken port may still be exchanged.
        self._confirmed_file.touch()

    def _forget_ports(self) -> None:
        self.stop()
        self._settings_file.unlink(missing_ok=True)

    def _choose_settings(self) -> None:
        # SeaweedFS listens on 127.0.0.1 as well as on the address given to bind.
        ports = tuple(free_ports((self.address, "127.0.0.1"), len(PORT_FLAGS)))
        settings = Settings("SEA" + secrets.token_hex(8).upper(), secrets.token_hex(20), ports)
        write_private(self._settings_file, json.dumps(asdict(settings)))

    def _spawn(self) -> None:
        if not self._settings_file.exists():
            self._choose_settings()
        settings = self.settings
        # Another server on this port would answer in its place.
        require_free(NAME, [(self.address, port) for port in settings.ports])
        private_folder(self._folder / "data")
        write_private(self._folder / "identities.json", json.dumps(identities_of(settings)))
        argv = [str(find_weed()), *arguments(self.address, settings, self.limits, self._folder)]
        command = Command(NAME, argv, cwd=self._folder, env=environment_of(self.limits))
        self.daemon.start(command, persistent=self._persistent)

    def _wait_ready(self) -> None:
        try:
            wait_until(
                self.answers,
                what=f"the S3 server to answer (log: {self.daemon.log_file})",
                timeout=START_TIMEOUT_SECONDS,
                check=self.daemon.require_alive,
            )
        except StartError as error:
            raise self.daemon.with_tail(error) from None

    def answers(self) -> bool:
        """True if an authenticated request succeeds and stored objects can be read."""
        # First, without credentials: the gateway answers before any object can be read.
        if not self._has_volumes():
            return False
        try:
            self.client(timeout=2.0, attempts=1).list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True

    def _has_volumes(self) -> bool:
        """True once the volume server has joined, on a restart seconds after the gateway."""
        port = self.settings.ports[PORT_FLAGS.index("-master.port")]
        status = get_text(f"http://{self.address}:{port}/dir/status", timeout=2.0)
        return status is not None and bool(json.loads(status)["Topology"].get("DataCenters"))


def _parse(content: dict[str, Any]) -> Settings:
    return Settings(content["access_key"], content["secret_key"], tuple(content["ports"]))
