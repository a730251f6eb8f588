"""Keeps every pod's /etc/hosts up to date with the cluster's Services and endpoints."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .api import ApiClient
from .hosts import hosts_text, name_records, own_names
from .reflector import Reflector
from .wire import Json

DEBOUNCE_SECONDS = 0.05


@dataclass(frozen=True)
class HostsFile:
    """One pod's file and what of it doesn't change."""

    path: Path
    address: str
    names: tuple[str, ...]
    namespace: str
    aliases: tuple[tuple[str, tuple[str, ...]], ...]


class HostsKeeper:
    """Watches EndpointSlices and rewrites hosts files in place, as bind mounts need."""

    def __init__(self, api: ApiClient, extra: Mapping[str, str], api_host: str) -> None:
        self.slices = Reflector(api, "/apis/discovery.k8s.io/v1/endpointslices", self._changed)
        self._extra = dict(extra)
        self._api_host = api_host
        self._files: dict[str, HostsFile] = {}
        self._dirty = asyncio.Event()

    def add(self, pod: Json, address: str, path: Path) -> None:
        """Write a new pod's file and keep it up to date until `remove`."""
        aliases = tuple(
            (one["ip"], tuple(one.get("hostnames") or []))
            for one in pod["spec"].get("hostAliases") or []
        )
        namespace = str(pod["metadata"]["namespace"])
        entry = HostsFile(path, address, tuple(own_names(pod)), namespace, aliases)
        self._files[pod["metadata"]["uid"]] = entry
        self._write(entry)

    def remove(self, uid: str) -> None:
        """Forget a pod."""
        self._files.pop(uid, None)

    async def run(self) -> None:
        """Rewrite until cancelled; changes that come together are written together."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(DEBOUNCE_SECONDS)
            self._dirty.clear()
            for entry in list(self._files.values()):
                self._write(entry)

    def _changed(self, _old: Json | None, _new: Json | None) -> None:
        self._dirty.set()

    def _write(self, entry: HostsFile) -> None:
        records = name_records(self.slices.objects.values(), self._api_host)
        extra: dict[str, list[str]] = {}
        for name, address in self._extra.items():
            extra.setdefault(address, []).append(name)
        for address, names in entry.aliases:
            extra.setdefault(address, []).extend(names)
        text = hosts_text(entry.address, entry.names, entry.namespace, records, extra)
        write_in_place(entry.path, text.encode())


def write_in_place(path: Path, content: bytes) -> None:
    """Replace a file's content, keeping its inode: one write, then cut, never empty."""
    if path.exists() and path.read_bytes() == content:
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)
