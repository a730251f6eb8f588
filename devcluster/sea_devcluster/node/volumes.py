"""A pod's volumes: folders on the host that `sandbox` binds into the containers."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .environment import PodFacts, field_value
from .kube_json import Json
from .references import Data, MissingReferenceError, PodTokens, References


@dataclass(frozen=True)
class File:
    """One file of a volume."""

    content: bytes
    mode: int = 0o644


Files = Mapping[str, File]


def select(data: Data, items: list[Json] | None, mode: int, what: str, *, optional: bool) -> Files:
    """The files of a Secret or ConfigMap: all keys, or the ones `items` map to paths. Pure."""
    if items is None:
        return {key: File(content, mode) for key, content in data.items()}
    files: dict[str, File] = {}
    for item in items:
        if item["key"] in data:
            files[item["path"]] = File(data[item["key"]], item.get("mode", mode))
        elif not optional:
            message = f"{what} has no key {item['key']!r}: add it, the pod then starts."
            raise MissingReferenceError(message)
    return files


def write_files(folder: Path, files: Files) -> None:
    """Makes `folder` contain exactly `files`; by renames, so that no reader sees half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        _write(folder / PurePosixPath(name), file)
    wanted = {folder / PurePosixPath(name) for name in files}
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path not in wanted:
            path.unlink()


def _write(path: Path, file: File) -> None:
    # An unchanged file keeps its inode and times: files are refreshed while containers run.
    if path.is_file() and path.read_bytes() == file.content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(file.content)
    partial.chmod(file.mode)
    # Mode before rename: a reader never sees the file with other rights or half its content.
    partial.rename(path)


@dataclass(frozen=True)
class VolumeFolders:
    """Where a pod's volumes are stored: on disk, and on a tmpfs for medium Memory and /dev/shm."""

    disk: Path
    memory: Path

    @property
    def shm(self) -> Path:
        """Folder that the pod's containers share as /dev/shm."""
        return self.memory / "shm"

    def create(self) -> None:
        """Make both folders; the shared memory is world-writable like any /dev/shm."""
        self.disk.mkdir(parents=True, exist_ok=True)
        self.shm.mkdir(parents=True, exist_ok=True)
        # chmod, as mkdir's mode is reduced by the umask.
        self.shm.chmod(0o1777)

    def remove(self) -> None:
        """Delete everything of the pod."""
        for folder in (self.disk, self.memory):
            shutil.rmtree(folder, ignore_errors=True)


class PodVolumes:
    """The volumes of one pod. `prepare` may be called again to refresh files."""

    def __init__(
        self, pod: Json, folders: VolumeFolders, references: References, tokens: PodTokens
    ) -> None:
        self._pod = pod
        self._folders = folders
        self._references = references
        self._tokens = tokens
        self._namespace: str = pod["metadata"]["namespace"]

    async def prepare(self, facts: PodFacts) -> dict[str, Path]:
        """Host path of each volume by name.

        Raises:
            MissingReferenceError: A Secret, ConfigMap or key doesn't exist (yet).
        """
        paths = {}
        for volume in self._pod["spec"].get("volumes") or []:
            paths[volume["name"]] = await self._volume(volume, facts)
        return paths

    async def _volume(self, volume: Json, facts: PodFacts) -> Path:
        path = self._folders.disk / str(volume["name"])
        if "emptyDir" in volume:
            if (volume["emptyDir"] or {}).get("medium") == "Memory":
                path = self._folders.memory / str(volume["name"])
            # An emptyDir outlives its containers' restarts; only a new pod gets a new one.
            if not path.exists():
                path.mkdir(parents=True)
                path.chmod(0o777)
            return path
        write_files(path, await self._files(volume, facts))
        return path

    async def _files(self, volume: Json, facts: PodFacts) -> Files:
        if "projected" in volume:
            files: dict[str, File] = {}
            mode = volume["projected"].get("defaultMode", 0o644)
            for source in volume["projected"].get("sources") or []:
                files.update(await self._source(source, mode, facts))
            return files
        return await self._source(volume, 0o644, facts)

    async def _source(self, source: Json, mode: int, facts: PodFacts) -> Files:
        if "secret" in source:
            body = source["secret"]
            return await self._data(
                "Secret", body.get("secretName") or body.get("name"), body, mode
            )
        if "configMap" in source:
            return await self._data(
                "ConfigMap", source["configMap"]["name"], source["configMap"], mode
            )
        if "serviceAccountToken" in source:
            body = source["serviceAccountToken"]
            seconds = int(body.get("expirationSeconds", 3600))
            token = await self._tokens.token(body.get("audience", ""), seconds)
            return {body["path"]: File(token, mode)}
        body = source.get("downwardAPI") or {}
        mode = body.get("defaultMode", mode)
        return {
            item["path"]: File(
                field_value(self._pod, item["fieldRef"]["fieldPath"], facts).encode(),
                item.get("mode", mode),
            )
            for item in body.get("items") or []
        }

    async def _data(self, kind: str, name: str, body: Json, mode: int) -> Files:
        optional = bool(body.get("optional"))
        if optional:
            data = await self._references.data(kind, self._namespace, name) or {}
        else:
            data = await self._references.required(kind, self._namespace, name)
        what = f"{kind} {self._namespace}/{name}"
        return select(
            data, body.get("items"), body.get("defaultMode", mode), what, optional=optional
        )
