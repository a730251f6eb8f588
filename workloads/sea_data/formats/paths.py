"""`db_path` stays inside the data root, whatever a row says."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from sea_data.formats.errors import RowError

_LONGEST = 512
_ODD = re.compile(r"\\|:/|%[0-9a-fA-F]{2}|[?#]")
"""What only Windows paths and URLs have; a proxy may decode `%2e%2e%2f` to a way out."""


def check(path: Any) -> str:
    """The path itself, if it is relative and never climbs; raises RowError otherwise."""
    if not isinstance(path, str) or not path.strip():
        raise RowError("db_path", "must be a non-empty string")
    if len(path) > _LONGEST:
        raise RowError("db_path", f"is longer than {_LONGEST} characters")
    if not path.isprintable() or _ODD.search(path):
        raise RowError("db_path", f"{path!r} isn't a plain relative path")
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or path.startswith("~"):
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


def local(root: Path, path: str) -> Path:
    """A row's database below a local folder; raises RowError where it is missing or outside.

    Links are followed: what they lead to must lie below the folder too.
    """
    joined = Path(join(str(root), path))
    if not joined.is_file():
        raise RowError("db_path", f"{str(joined)!r} does not exist")
    if not joined.resolve().is_relative_to(root.resolve()):
        raise RowError("db_path", f"{path!r} is a link out of the folder of the databases")
    return joined
