"""Database files of the data root: where a row's `db_path` leads, and how the file is read.

A `db_path` never leaves the data root, whatever a row says. Compressed files are unpacked.
"""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from sea_data import foreign_files
from sea_data.errors import DataFileError, RowError
from sea_data.formats import compression
from sea_data.object_store import ObjectNotFoundError
from sea_env.domains.base import Domain
from sea_env.domains.database import Database, DatabaseError, user_files

_MAX_PATH = 512
"""Characters."""
_NOT_PLAIN = re.compile(r"\\|:/|%[0-9a-fA-F]{2}|[?#]")
"""Parts of Windows paths and URLs; a proxy may decode `%2e%2e%2f` to `../`."""


def check_path(path: Any) -> str:
    """The path itself if it is relative and has no `..`; raises RowError otherwise."""
    if not isinstance(path, str) or not path.strip():
        raise RowError("db_path", "must be a non-empty string")
    if len(path) > _MAX_PATH:
        raise RowError("db_path", f"is longer than {_MAX_PATH} characters")
    if not path.isprintable() or _NOT_PLAIN.search(path):
        raise RowError("db_path", f"{path!r} isn't a plain relative path")
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or path.startswith("~"):
        raise RowError("db_path", f"{path!r} leaves the folder of the databases")
    return path


def join_path(root: str, path: str) -> str:
    """The folder (`s3://...` or local) and a row's `db_path` as one address; raises RowError.

    Published rows begin with the folder's own name (`tau2_rl_database/x.json`), which isn't
    repeated if `root` ends with it.
    """
    checked = PurePosixPath(check_path(path))
    folder = root.rstrip("/")
    if len(checked.parts) > 1 and checked.parts[0] == folder.rsplit("/", 1)[-1]:
        checked = PurePosixPath(*checked.parts[1:])
    return f"{folder}/{checked}"


def local_path(root: Path, path: str) -> Path:
    """A row's database below a local folder; raises RowError if it is missing or outside.

    Links are followed; their targets must be below the folder too.
    """
    joined = Path(join_path(str(root), path))
    if not joined.is_file():
        raise RowError("db_path", f"{str(joined)!r} does not exist")
    if not joined.resolve().is_relative_to(root.resolve()):
        raise RowError("db_path", f"{path!r} is a link out of the folder of the databases")
    return joined


def parse(domain: Domain, data: bytes, name: str, user_data: bytes | None = None) -> Database:
    """`domain.parse` of a file that may be compressed; raises DatabaseError."""
    try:
        if compression.is_compressed(name):
            foreign_files.refuse_unpacked(data, name)
        content, plain_name = compression.whole(data, name)
        foreign_files.refuse(content, name)
    except DataFileError as error:
        raise DatabaseError(f"The database {error}") from error
    return domain.parse(content, plain_name, user_data)


def read(domain: Domain, path: Path) -> Database:
    """Reads a local file, and the user's database next to it if there is one.

    Raises DatabaseError.
    """
    user = None
    if domain.user_tools:
        companions = map(path.with_name, user_files(path.name))
        user = next((file.read_bytes() for file in companions if file.is_file()), None)
    return parse(domain, path.read_bytes(), path.name, user)


def fetch(domain: Domain, url: str, get: Callable[[str], bytes]) -> Database:
    """As `read`, with an object store's `get`. Raises DatabaseError and what `get` raises."""
    folder, _, name = url.rpartition("/")
    companions = user_files(name) if domain.user_tools else []
    user = first_of([f"{folder}/{file}" for file in companions], get)
    return parse(domain, get(url), name, user)


def fetch_policy(domain: Domain, url: str, get: Callable[[str], bytes]) -> str | None:
    """The policy for the database at `url`: from its folder, or from the folder of all databases.

    None if the domain has its own. In the database's own folder `policy.md` is accepted too:
    `sea data world` and tau2-bench call it so. Raises DatabaseError and what `get` raises.
    """
    if domain.policy_file is None:
        return None
    folder = url.rpartition("/")[0]
    places = [f"{folder}/{domain.policy_file}", f"{folder}/policy.md"]
    parent = folder.rpartition("/")[0]
    # "s3://bucket" has two slashes: above it there is no folder.
    if parent.count("/") > 2:
        places.append(f"{parent}/{domain.policy_file}")
    body = first_of(places, get)
    if body is None:
        raise DatabaseError(
            f"The policy of {domain.name} is in none of {', '.join(places)}: upload it."
        )
    try:
        # As `sea evaluate` reads it: with other line ends the prompt would be another one.
        return foreign_files.text(body, f"of {domain.name} next to {url}")
    except DataFileError as error:
        raise DatabaseError(f"The policy {error}") from error


def first_of(urls: list[str], get: Callable[[str], bytes]) -> bytes | None:
    """The first of the objects that exists; None if none does."""
    for url in urls:
        try:
            return get(url)
        except ObjectNotFoundError:
            continue
    return None
