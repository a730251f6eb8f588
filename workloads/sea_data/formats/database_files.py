"""Database files as they lie in the data root, packed ones unpacked."""

from collections.abc import Callable
from pathlib import Path

from sea_data.formats import compression
from sea_data.formats.errors import DataFileError
from sea_data.object_store import ObjectNotFoundError
from sea_env.domains.base import Domain
from sea_env.domains.database import Database, DatabaseError, user_files


def parse(domain: Domain, data: bytes, name: str, user_data: bytes | None = None) -> Database:
    """`domain.parse` of a file that may be packed; raises DatabaseError."""
    try:
        content, plain_name = compression.whole(data, name)
    except DataFileError as error:
        raise DatabaseError(f"The database {error}") from error
    return domain.parse(content, plain_name, user_data)


def read(domain: Domain, path: Path) -> Database:
    """A local file with the user's side beside it; raises DatabaseError."""
    user = None
    if domain.user_tools:
        beside = map(path.with_name, user_files(path.name))
        user = next((file.read_bytes() for file in beside if file.is_file()), None)
    return parse(domain, path.read_bytes(), path.name, user)


def fetch(domain: Domain, url: str, get: Callable[[str], bytes]) -> Database:
    """As `read`, of an object store's `get`. Raises DatabaseError and what `get` raises."""
    folder, _, name = url.rpartition("/")
    beside = user_files(name) if domain.user_tools else []
    user = first([f"{folder}/{file}" for file in beside], get)
    return parse(domain, get(url), name, user)


def first(urls: list[str], get: Callable[[str], bytes]) -> bytes | None:
    """The first of the objects that exists."""
    for url in urls:
        try:
            return get(url)
        except ObjectNotFoundError:
            continue
    return None
