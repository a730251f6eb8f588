"""Puts the files of a configMap, secret, projected or downwardAPI volume into a folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .errors import MissingReferenceError
from .references import Data
from .wire import Json


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
    """Make `folder` hold exactly `files`. Renames replace them: no reader sees half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        _write(folder / PurePosixPath(name), file)
    wanted = {folder / PurePosixPath(name) for name in files}
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path not in wanted:
            path.unlink()


def _write(path: Path, file: File) -> None:
    if path.is_file() and path.read_bytes() == file.content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(file.content)
    partial.chmod(file.mode)
    partial.rename(path)
