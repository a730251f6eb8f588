"""Whether a store keeps to the conditions of writes, tried before anything relies on it.

Checkpoints are committed by compare-and-set (`trainer/checkpoint/head.py`). A store that ignores
`If-None-Match` or `If-Match` writes all the same: two attempts would then both believe that they
lead, and nothing would say so. Old MinIO ignored `If-Match` where there was no object
(minio/minio issue 21526); Ceph before Squid has no conditional writes.
"""

import uuid
from contextlib import suppress

from sea_data import urls
from sea_data.object_store import (
    ObjectNotFoundError,
    ObjectStore,
    PreconditionFailedError,
    RequestRefusedError,
    StoreError,
)

NO_OBJECT = '"00000000000000000000000000000000"'
"""A well-formed entity tag that no object has."""


def check(store: ObjectStore, folder: str) -> None:
    """Tries five writes on an object of its own below `folder`, and deletes it.

    Raises:
        RequestRefusedError: the store ignores a condition.
        StoreError: it refuses a request, or doesn't answer.
    """
    url = urls.join(folder, f"probe-{uuid.uuid4().hex}")
    try:
        if not _is_refused(store, url, NO_OBJECT):
            raise _ignored(folder, "If-Match on an object that isn't there")
        first = store.put_if(url, b"1", None)
        if not _is_refused(store, url, None):
            raise _ignored(folder, "If-None-Match: *")
        store.put_if(url, b"2", first)
        if not _is_refused(store, url, first):
            raise _ignored(folder, "If-Match with an old tag")
    finally:
        # A probe that is left behind harms nobody; its error must not hide the store's.
        with suppress(StoreError):
            store.delete(url)


def _is_refused(store: ObjectStore, url: str, etag: str | None) -> bool:
    try:
        # Another body each time: `put_if` recognizes its own as a repeated write.
        store.put_if(url, uuid.uuid4().bytes, etag)
    except (PreconditionFailedError, ObjectNotFoundError):
        return True
    return False


def _ignored(folder: str, condition: str) -> RequestRefusedError:
    return RequestRefusedError(
        f"The store of {folder} ignores the condition of a conditional write ({condition}): two "
        "attempts of the trainer could overwrite each other's checkpoints without an error. Take a "
        "store that keeps to it (AWS S3, MinIO from RELEASE.2025-09, Ceph from Squid, SeaweedFS "
        "from 3.9x, Cloudflare R2), or update this one."
    )
