"""`db_path` stays inside the data root, whatever a row says."""

from pathlib import PurePosixPath
from typing import Any

from sea_workloads.data.errors import RowError

_LONGEST = 512


def check(path: Any) -> str:
    """The path itself, if it is relative and never climbs; raises RowError otherwise."""
    if not isinstance(path, str) or not path.strip():
        raise RowError("db_path", "must be a non-empty string")
    if len(path) > _LONGEST:
        raise RowError("db_path", f"is longer than {_LONGEST} characters")
    if "\\" in path or "\0" in path or "://" in path or not path.isprintable():
        raise RowError("db_path", f"{path!r} isn't a plain relative path")
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise RowError("db_path", f"{path!r} leaves the folder of the databases")
    return path


def join(root: str, path: str) -> str:
    """Folder (`s3://...` or local) and a row's `db_path` as one address; raises RowError.

    Published rows name the folder itself first (`tau2_rl_database/x.json`); where `root` already
    ends with it, it isn't repeated.
    """
    checked = PurePosixPath(check(path))
    folder = root.rstrip("/")
    if len(checked.parts) > 1 and checked.parts[0] == folder.rsplit("/", 1)[-1]:
        checked = PurePosixPath(*checked.parts[1:])
    return f"{folder}/{checked}"
