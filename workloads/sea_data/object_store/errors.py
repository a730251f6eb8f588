"""What can go wrong with objects in S3.

StoreError
 |- BadUrlError                the address is not `s3://bucket/key`
 |- ObjectNotFoundError        no such object
 |   `- BucketNotFoundError    no such bucket
 |- PreconditionFailedError    another writer was first
 |- AccessDeniedError          credentials are missing or not allowed to do this
 |- ChecksumMismatchError      bytes are not what the manifest says
 |- RequestRefusedError        the server calls the request itself wrong
 `- StoreUnavailableError      no usable answer before the deadline; the only transient one
"""

from sea_data.errors import DataError


class StoreError(DataError):
    """Anything that went wrong with an object; the message names the object."""


class BadUrlError(StoreError, ValueError):
    pass


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


class StoreUnavailableError(StoreError):
    permanent = False
