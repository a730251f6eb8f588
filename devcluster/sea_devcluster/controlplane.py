"""A real Kubernetes control plane on loopback: etcd, API server, controller manager, scheduler.

    with ControlPlane(folder) as plane:            # tests: ends with this program
        client = load(plane.kubeconfig)

    ControlPlane(folder, persistent=True).start()  # `up`: outlives this program
    ControlPlane(folder).stop()                    # `down`, another program

All state is stored in the folder, so any later program finds the same control plane again. `start`
starts what is not running and leaves the rest alone. Order: keys, etcd, API server, the other two.
"""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from sea_devcluster import credentials, records
from sea_devcluster.api import KubeApi, answers
from sea_devcluster.build import find_or_build
from sea_devcluster.components import (
    API_SERVER,
    ARGUMENTS,
    COMPONENTS,
    CONTROLLER_MANAGER,
    ETCD,
    SCHEDULER,
    Layout,
    Ports,
)
from sea_devcluster.daemons import Command, Daemon
from sea_devcluster.errors import ApiError, RecordError, StartError
from sea_devcluster.paths import private_folder, write_private
from sea_devcluster.ports import free_ports, require_free, retry_taken_ports
from sea_devcluster.waiting import START_TIMEOUT_SECONDS, wait_until

log = logging.getLogger(__name__)


class ControlPlane:
    """One control plane in one folder.

    Args:
        state_dir: Everything it writes: keys, etcd's data, logs, records of its processes.
        address: Loopback address that every component binds.
        components: Which of `COMPONENTS` to run. Tests of the CRD need only etcd and the server.
        binaries: Folder of the programs; found or built by `sea_devcluster.build` if None.
        persistent: The processes outlive this program. Otherwise they are killed by the kernel
            when the thread that called `start` ends.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        address: str = "127.0.0.1",
        components: tuple[str, ...] = COMPONENTS,
        binaries: Path | None = None,
        persistent: bool = False,
    ) -> None:
        self.state_dir = private_folder(state_dir.resolve())
        self.address = address
        self.components = components
        self._binaries = binaries
        self._persistent = persistent
        self._daemons = {name: Daemon(self.state_dir, name) for name in COMPONENTS}

    # --- what clients need ---

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of an administrator."""
        return self.state_dir / "kubeconfig"

    @property
    def layout(self) -> Layout:
        """Addresses and folders; available after the first `start`."""
        ports = records.load_json(self._ports_file, lambda content: Ports(**content))
        return Layout(self.address, ports, self.state_dir)

    @property
    def url(self) -> str:
        """URL of the API server."""
        return self.layout.api_url

    @property
    def ca_file(self) -> Path:
        """Certificate of the authority that signs for the API server and the nodes."""
        return self.state_dir / "pki" / "ca.crt"

    @property
    def token(self) -> str:
        """Bearer token of an administrator."""
        return credentials.read_tokens(self.state_dir / "pki")[credentials.ADMIN]

    @property
    def api(self) -> KubeApi:
        """A client with an administrator's rights."""
        return KubeApi(self.url, self.ca_file, self.token)

    def answering_api(self) -> KubeApi | None:
        """The API server if it answers; None if it is down or its keys or ports are broken."""
        try:
            return self.api if self.api.ready() else None
        except (OSError, LookupError, RecordError) as error:
            log.debug("The API server cannot be asked: %s", error)
            return None

    @property
    def kubectl(self) -> Path:
        """kubectl of the same version."""
        return self._folder() / "kubectl"

    @property
    def daemons(self) -> dict[str, Daemon]:
        """Daemons of `components`, by name."""
        return {name: self._daemons[name] for name in self.components}

    def silent_ports(self) -> list[tuple[str, int]]:
        """Ports of the components that are not running."""
        idle = [name for name, daemon in self.daemons.items() if not daemon.alive()]
        return [pair for name in idle for pair in self.layout.listeners(name)]

    # --- life ---

    def start(self) -> Self:
        """Starts what is not running and waits until all of it is ready. Idempotent.

        Raises:
            StartError: A component ended or did not become ready; carries the end of its log.
            BinariesError: The programs are missing and cannot be built.
        """
        # Clients know the ports from the kubeconfig, which is written last.
        retry_taken_ports(
            self._start_once, confirmed=self.kubeconfig.exists, reset=self._forget_ports
        )
        return self

    def stop(self, grace: float = 15.0) -> None:
        """Stops every component, clients of the API server first. Idempotent."""
        # Clients before servers: the others would only log errors while etcd stops.
        for name in reversed(COMPONENTS):
            self._daemons[name].stop(grace)

    def start_component(self, name: str) -> None:
        """Restarts one component on its old port and waits until it is ready."""
        self._spawn(name)
        self._wait_ready(name)

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
    def _ports_file(self) -> Path:
        return self.state_dir / "ports.json"

    def _forget_ports(self) -> None:
        self.stop()
        self._ports_file.unlink(missing_ok=True)

    def _start_once(self) -> None:
        self._choose_ports()
        # Keys before the first process: the API server reads tokens and certificates once.
        credentials.prepare(self.layout)
        for name in self.components:
            # A component that runs is left alone: `up` repairs a cluster without restarting it.
            if not self._daemons[name].alive():
                self._spawn(name)
            # The last two start concurrently; both need only the API server.
            if name in (ETCD, API_SERVER):
                self._wait_ready(name)
        for name in self.components:
            self._wait_ready(name)
        if CONTROLLER_MANAGER in self.components:
            self._wait_for_pods_to_be_allowed()
        # Last: the file confirms the ports (`start`), and a process that waits for it finds a
        # working cluster.
        credentials.write_admin_kubeconfig(self.layout, self.kubeconfig)

    def _choose_ports(self) -> None:
        if self._ports_file.exists():
            return
        ports = Ports(*free_ports((self.address,), 5))
        write_private(self._ports_file, json.dumps(asdict(ports)))

    def _folder(self) -> Path:
        if self._binaries is None:
            self._binaries = find_or_build()
        return self._binaries

    def _spawn(self, name: str) -> None:
        # Checked first: with a stranger on the port the readiness check would succeed.
        require_free(name, self.layout.listeners(name))
        argv = [str(self._folder() / name), *ARGUMENTS[name](self.layout)]
        command = Command(name, argv, cwd=self.state_dir)
        self._daemons[name].start(command, persistent=self._persistent)

    def _wait_ready(self, name: str) -> None:
        daemon = self._daemons[name]
        try:
            seconds = wait_until(
                lambda: self._is_ready(name),
                what=f"{name} to become ready (log: {daemon.log_file})",
                timeout=START_TIMEOUT_SECONDS,
                check=lambda: self._require_alive_up_to(name),
            )
        except StartError as error:
            raise daemon.with_tail(error) from None
        log.debug("%s was ready after %.1f s.", name, seconds)

    def _require_alive_up_to(self, name: str) -> None:
        """A component never becomes ready if one that it needs has ended."""
        for earlier in self.components[: self.components.index(name) + 1]:
            self._daemons[earlier].require_alive()

    def _wait_for_pods_to_be_allowed(self) -> None:
        """The API server refuses pods until the controllers have created the default account."""
        wait_until(
            self._has_default_account,
            what="the service account default/default",
            timeout=START_TIMEOUT_SECONDS,
            check=lambda: self._require_alive_up_to(CONTROLLER_MANAGER),
        )

    def _has_default_account(self) -> bool:
        try:
            self.api.get("/api/v1/namespaces/default/serviceaccounts/default")
        except (ApiError, OSError):
            return False
        return True

    def _is_ready(self, name: str) -> bool:
        layout = self.layout
        if name == ETCD:
            return answers(f"{layout.etcd_url}/readyz")
        if name == API_SERVER:
            return self.api.ready()
        port = {
            CONTROLLER_MANAGER: layout.ports.controller_manager,
            SCHEDULER: layout.ports.scheduler,
        }[name]
        return answers(f"https://{layout.address}:{port}/healthz")
