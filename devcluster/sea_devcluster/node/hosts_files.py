"""Keeps each pod's /etc/hosts up to date with the cluster's Services and pods."""

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .api import ApiClient, Reflector
from .events import EventRecorder
from .hosts import NameRecord, hosts_text, name_records, own_names, untranslated_ports
from .kube_json import Json

log = logging.getLogger(__name__)

DEBOUNCE_SECONDS = 0.05
IDLE_SHARE = 10.0
"""Computing names takes at most a tenth of the time, even in a cluster of many pods."""


@dataclass(frozen=True)
class HostsFile:
    """One pod's file, and the part of its content that doesn't change."""

    path: Path
    address: str
    names: tuple[str, ...]
    namespace: str
    aliases: tuple[tuple[str, tuple[str, ...]], ...]


class HostsFiles:
    """Watches Services and all pods, and rewrites hosts files in place, as bind mounts need."""

    def __init__(
        self, api: ApiClient, events: EventRecorder, extra: Mapping[str, str], api_host: str
    ) -> None:
        self.services = Reflector(api, "/api/v1/services", self._changed)
        self.pods = Reflector(api, "/api/v1/pods", self._changed)
        self._events = events
        self._extra = dict(extra)
        self._api_host = api_host
        self._files: dict[str, HostsFile] = {}
        self._records: list[NameRecord] = []
        self._warned: set[tuple[str, str]] = set()
        self._dirty = asyncio.Event()

    def add(self, pod: Json, address: str, path: Path) -> None:
        """Writes a new pod's file and keeps it up to date until `remove`."""
        aliases = tuple(
            (one["ip"], tuple(one.get("hostnames") or []))
            for one in pod["spec"].get("hostAliases") or []
        )
        namespace = str(pod["metadata"]["namespace"])
        entry = HostsFile(path, address, tuple(own_names(pod)), namespace, aliases)
        # Registered before it is written: a change in between rewrites it.
        self._files[pod["metadata"]["uid"]] = entry
        self._write(entry)

    def remove(self, uid: str) -> None:
        """Stops updating a pod's file."""
        self._files.pop(uid, None)

    async def run(self) -> None:
        """Rewrites files until cancelled; changes in quick succession are written together."""
        loop = asyncio.get_running_loop()
        pause = DEBOUNCE_SECONDS
        while True:
            await self._dirty.wait()
            # Wait, then clear, then compute: a change during the pause is part of this pass.
            await asyncio.sleep(pause)
            self._dirty.clear()
            began = loop.time()
            try:
                self._rewrite()
                self._warn_about_ports()
            except (OSError, KeyError):
                log.exception("The pods' hosts files couldn't be written")
            pause = max(DEBOUNCE_SECONDS, IDLE_SHARE * (loop.time() - began))

    def _rewrite(self) -> None:
        services, pods = self.services.objects.values(), self.pods.objects.values()
        self._records = name_records(services, pods, self._api_host)
        for entry in list(self._files.values()):
            self._write(entry)

    def _warn_about_ports(self) -> None:
        """Records an Event on the Service for each port that only a real cluster translates."""
        for service in self.services.objects.values():
            metadata = service["metadata"]
            pods = [
                pod
                for pod in self.pods.objects.values()
                if pod["metadata"]["namespace"] == metadata["namespace"]
            ]
            for sentence in untranslated_ports(service, pods):
                if (metadata["uid"], sentence) not in self._warned:
                    self._warned.add((metadata["uid"], sentence))
                    about = {**service, "kind": "Service"}
                    self._events.record(about, "Warning", "PortsNotTranslated", sentence)

    def _changed(self, _old: Json | None, _new: Json | None) -> None:
        self._dirty.set()

    def _write(self, entry: HostsFile) -> None:
        extra: dict[str, list[str]] = {}
        for name, address in self._extra.items():
            extra.setdefault(address, []).append(name)
        for address, names in entry.aliases:
            extra.setdefault(address, []).extend(names)
        text = hosts_text(entry.address, entry.names, entry.namespace, self._records, extra)
        write_in_place(entry.path, text.encode())


def write_in_place(path: Path, content: bytes) -> None:
    """Replaces a file's content but keeps its inode: one write, then truncate, never empty."""
    if path.exists() and path.read_bytes() == content:
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        # Write before truncate: a reader in between sees the new text and a rest of the old one,
        # never an empty file. A rename would leave the containers' bind mounts at the old inode.
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)
