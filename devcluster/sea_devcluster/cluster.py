"""A whole devcluster: control plane, object store and nodes under one name.

    cluster = DevCluster("demo").up()       # a second `up` starts only what does not run
    cluster.kubeconfig, cluster.s3.endpoint
    cluster.down()                          # leaves no process, no mount, no file

Start order: claim a subnet, S3 and control plane concurrently, nodes. Stop order: controllers, so
that no new pods appear; pods with their grace period; nodes; S3; API server; etcd; files.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from sea_devcluster import force_cleanup, paths, records, subnets
from sea_devcluster.components import CONTROLLER_MANAGER, SCHEDULER
from sea_devcluster.controlplane import ControlPlane
from sea_devcluster.daemons import Daemon
from sea_devcluster.errors import DevclusterError, RecordError
from sea_devcluster.interrupts import postponed
from sea_devcluster.locks import exclusive
from sea_devcluster.nodes import Node, NodeSpec, grant_rights, image_map
from sea_devcluster.paths import private_folder
from sea_devcluster.records import Capacity, ClusterRecord
from sea_devcluster.s3 import S3Server
from sea_devcluster.shutdown import MAX_GRACE_SECONDS, delete_pods, unmount_below
from sea_devcluster.subnets import Subnet

log = logging.getLogger(__name__)

DEFAULT_NAME = "default"
DEMO_NAMESPACE = "sea-demo"
S3_NAME = "s3.devcluster"
"""Name of the object store in every pod, whatever its namespace."""


@dataclass(frozen=True)
class Options:
    """How a cluster is created; a running one only gains nodes."""

    nodes: int = 1
    capacity: Capacity | None = None
    """Capacity of each node; the whole machine if None."""
    namespaces: tuple[str, ...] = (DEMO_NAMESPACE,)
    """Namespaces in which `s3.NAMESPACE.svc` names the object store."""
    extra_images: tuple[str, ...] = field(default=())
    """More image references that stand for this Python environment."""


class DevCluster:
    """One cluster, found by its name.

    Args:
        name: Lower-case letters, digits and hyphens.
        state_root: Parent of the cluster's folder; the user's XDG state folder if None.
        options: How to create it.
        persistent: The cluster outlives this program. Tests say False, and the kernel kills its
            processes with the test's.
    """

    def __init__(
        self,
        name: str = DEFAULT_NAME,
        *,
        state_root: Path | None = None,
        options: Options | None = None,
        persistent: bool = True,
    ) -> None:
        records.require_name(name)
        self.name = name
        self.options = options or Options()
        records.require_size(self.options.nodes, self.options.capacity)
        self.folder = (state_root or paths.state_root()).resolve() / name
        self._persistent = persistent

    # --- what clients need; valid after `up` ---

    @property
    def record(self) -> ClusterRecord | None:
        """The cluster's record, None if there is no cluster; RecordError if it is broken."""
        return records.load(self.folder)

    @property
    def exists(self) -> bool:
        """True if there is a cluster to take down, even if its record is broken."""
        return records.exists(self.folder)

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of an administrator."""
        return self.folder / "kubeconfig"

    @property
    def plane(self) -> ControlPlane:
        """The control plane."""
        address = self._subnet().control_plane
        return ControlPlane(self.folder, address=address, persistent=self._persistent)

    @property
    def s3(self) -> S3Server:
        """The object store; host and pods reach its `endpoint`."""
        return S3Server(self.folder, address=self._subnet().s3, persistent=self._persistent)

    @property
    def nodes(self) -> list[Node]:
        """The nodes."""
        record = self._require_record()
        return [self._node(record, number) for number in range(1, record.nodes + 1)]

    @property
    def node(self) -> Node:
        """The first node."""
        return self.nodes[0]

    def daemons(self) -> list[Daemon]:
        """Every component's process, in the order of their start."""
        nodes = [node.daemon for node in self.nodes]
        return [self.s3.daemon, *self.plane.daemons.values(), *nodes]

    def silent_ports(self) -> list[tuple[str, int]]:
        """Ports of components that ran before and are down: they must be free for a restart."""
        if self.record is None:
            return []
        return [
            *(self.plane.silent_ports() if self.kubeconfig.exists() else []),
            *self.s3.silent_ports(),
        ]

    # --- life ---

    def up(self) -> Self:
        """Starts what is not running and waits until everything is ready. Idempotent.

        Raises:
            DevclusterError: Something is missing or did not start. A first `up` then stops what it
                had started.
        """
        with self._lock():
            first = self.record is None
            try:
                self._prepare()
                self._start()
            except BaseException:  # Ctrl-C too must not leave half a cluster behind
                if first:
                    self._stop(keep_logs=True)
                raise
        return self

    def down(self, *, keep_logs: bool = False) -> None:
        """Stops everything and removes the state folder, except `logs` if asked. Idempotent.

        Raises:
            DevclusterError: Something cannot be unmounted.
        """
        with self._lock():
            self._stop(keep_logs=keep_logs)
            # While it is held: `locks.exclusive` notices that its file was removed.
            self._lock_file.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    # --- steps ---

    def _prepare(self) -> None:
        private_folder(self.folder)
        known = self.record
        # Claim before the record is written: a kill in between leaves a claim whose folder exists,
        # which the next `up` finds again.
        subnet = subnets.claim(self.folder, wanted=known.subnet if known else None)
        if known is None:
            known = ClusterRecord(
                name=self.name,
                subnet=subnet.second,
                nodes=self.options.nodes,
                checkout=str(checkout()),
                capacity=self.options.capacity or Capacity.of_machine(),
                namespaces=self.options.namespaces,
            )
        more = max(known.nodes, self.options.nodes)
        # Before anything is started: `down` must find a cluster whose `up` was killed.
        records.save(self.folder, replace(known, nodes=more))

    def _start(self) -> None:
        plane, s3 = self.plane, self.s3
        log.info("Starting the control plane and S3 (logs: %s) ...", self.folder / "logs")
        # Started first and waited for last: SeaweedFS and the control plane start concurrently.
        s3.launch()
        plane.start()
        # Before the agents: a node without these rights fails its first list.
        grant_rights(plane.api)
        nodes = self.nodes
        log.info("Starting %d %s ...", len(nodes), "node" if len(nodes) == 1 else "nodes")
        for node in nodes:
            node.launch(plane.layout)
        # The process runs since `launch`; this waits until the store answers.
        s3.start()
        for node in nodes:
            node.wait_ready(plane.api, plane.daemons.values())

    def _stop(self, *, keep_logs: bool) -> None:
        # Every step has a time-out; a second Ctrl-C would leave half a cluster running.
        with postponed(f"Devcluster {self.name} is being stopped; please wait."):
            try:
                self._stop_recorded()
            except RecordError as error:
                log.warning("%s\nStopping what can be found of it.", error)
                force_cleanup.stop_found(self.folder)
            # After the recorded ones, which end more gracefully: what no record names.
            force_cleanup.end_strays(self.folder)
            unmount_below(self.folder)
            # After the last process: another cluster may take these addresses at once.
            subnets.release(self.folder)
            self._remove_files(keep_logs=keep_logs)

    def _stop_recorded(self) -> None:
        if self.record is None:
            return
        plane = self.plane
        running = plane.daemons
        # Controllers first: they would replace each deleted pod.
        for name in (SCHEDULER, CONTROLLER_MANAGER):
            running[name].stop()
        nodes = self.nodes
        if any(node.daemon.alive() for node in nodes) and (api := plane.answering_api()):
            log.info("Stopping the pods, which may take %d s ...", MAX_GRACE_SECONDS)
            # While nodes and API server run: only a node can stop a pod within its grace period.
            delete_pods(api)
        log.info("Stopping nodes, S3 and control plane ...")
        for node in nodes:
            node.stop()
        # After the nodes: pods may upload until they end.
        self.s3.stop()
        plane.stop()

    def _remove_files(self, *, keep_logs: bool) -> None:
        if not self.folder.is_dir():
            return
        for entry in self.folder.iterdir():
            if keep_logs and entry.name == "logs":
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _node(self, record: ClusterRecord, number: int) -> Node:
        subnet = Subnet(record.subnet)
        names = [S3_NAME, *(f"s3.{namespace}.svc" for namespace in record.namespaces)]
        spec = NodeSpec(
            cluster=self.name,
            number=number,
            address=subnet.node(number),
            pod_subnet=subnet.pods(number),
            capacity=record.capacity,
            images=image_map(self.options.extra_images),
            memory_root=subnets.memory_root(record.subnet, number),
            hosts=dict.fromkeys(names, subnet.s3),
        )
        return Node(self.folder, spec, persistent=self._persistent)

    def _require_record(self) -> ClusterRecord:
        record = self.record
        if record is None:
            raise DevclusterError(
                f"There is no devcluster {self.name!r} in {self.folder.parent}; start it with "
                f"`python -m sea_devcluster up --name {self.name}`."
            )
        return record

    def _subnet(self) -> Subnet:
        return Subnet(self._require_record().subnet)

    @property
    def _lock_file(self) -> Path:
        return private_folder(self.folder.parent) / f".{self.name}.lock"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Allows one `up` or `down` of this cluster at a time."""
        words = "Another `up` or `down` of %s runs; waiting for it."
        with exclusive(self._lock_file, lambda: log.warning(words, self.name)):
            yield


def checkout() -> Path:
    """The clone that this code runs from."""
    return Path(__file__).resolve().parents[2]
