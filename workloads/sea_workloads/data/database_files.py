"""Database files as they lie in the data root, `.gz`, `.xz` or `.zst` unpacked."""

from sea_workloads.data import compression
from sea_workloads.data.errors import DataFileError
from sea_workloads.domains.base import Domain
from sea_workloads.domains.database import Database, DatabaseError


def parse(domain: Domain, data: bytes, name: str, user_data: bytes | None = None) -> Database:
    """`domain.parse` of a file that may be packed; raises DatabaseError."""
    try:
        content, plain_name = compression.whole(data, name)
    except DataFileError as error:
        raise DatabaseError(f"The database {error}") from error
    return domain.parse(content, plain_name, user_data)
