"""What the readers and writers of data files need of an object store, and what can go wrong in it.

`sea_runtime.store.s3.ObjectStore` implements the protocol; local files need none of it.

DataError
 `- StoreError
     |- ObjectNotFoundError        no such object
     |   `- BucketNotFoundError    no such bucket
     |- PreconditionFailedError    another writer was first
     |- AccessDeniedError          credentials are missing or don't permit the request
     |- ChecksumMismatchError      bytes are not what the manifest says
     |- RequestRefusedError        the server rejects the request itself
     |- ObjectChangedError         overwritten while it was read; transient
     `- StoreUnavailableError      no usable answer before the deadline; transient
"""

from typing import Protocol

from sea_data.errors import DataError


class ObjectStore(Protocol):
    """Objects by URL (`urls`). All methods block and raise `StoreError`."""

    def size(self, url: str) -> int | None: ...

    def read_range(self, url: str, start: int, length: int) -> bytes: ...

    def get(self, url: str) -> bytes: ...

    def get_with_etag(self, url: str) -> tuple[bytes, str]: ...

    def put(self, url: str, body: bytes) -> object: ...

    def put_if(self, url: str, body: bytes, etag: str | None) -> str: ...

    def delete(self, url: str) -> None: ...


class StoreError(DataError):
    """An object could not be read or written; the message names the object."""


class ObjectNotFoundError(StoreError):
    pass


class BucketNotFoundError(ObjectNotFoundError):
    pass


class PreconditionFailedError(StoreError):
    pass


class AccessDeniedError(StoreError):
    pass


class ChecksumMismatchError(StoreError):
    pass


class RequestRefusedError(StoreError):
    pass


class ObjectChangedError(StoreError):
    permanent = False


class StoreUnavailableError(StoreError):
    permanent = False
