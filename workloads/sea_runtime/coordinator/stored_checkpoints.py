"""Committed checkpoints as the object store has them: what a stage's head names, and whether it is
there. Of this run, to go back to (`rollback.py`), or of another, to go on from (`origin.py`).
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from pydantic import BaseModel, ValidationError

from sea_data import urls
from sea_data.object_store import ObjectNotFoundError
from sea_runtime.coordinator.errors import LedgerError
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.checkpoints import FORMAT, Entry, Head, StoredObject

PARALLEL = 16
"""Requests for sizes at one time."""
READ_BYTES = 8 << 20


class Manifest(BaseModel):
    """What the coordinator reads of a checkpoint's manifest."""

    format: int = 1
    step: int
    version: int = 0
    objects: list[StoredObject]
    ledger: StoredObject


def head_url(run_url: str, stage: str) -> str:
    return urls.join(run_url, f"stages/{stage}/checkpoints/head.json")


def url(run_url: str, key: str) -> str:
    """Address of an object that a head or manifest of the run names."""
    return str(urls.S3Url(urls.parse(run_url).bucket, key))


def read_head(store: ObjectStore, run_url: str, stage: str) -> Head:
    """An empty one if nothing is committed. Blocking.

    Raises:
        LedgerError: the object is no head.
    """
    place = head_url(run_url, stage)
    try:
        return Head.model_validate_json(store.get(place))
    except ObjectNotFoundError:
        return Head()
    except ValidationError as error:
        raise LedgerError(
            f"{place} can't be read ({str(error)[:200]}). Restore an earlier version of the object:"
            " it alone says which checkpoints there are."
        ) from error


def read_manifest(store: ObjectStore, run_url: str, entry: Entry) -> Manifest:
    """Blocking.

    Raises:
        ObjectNotFoundError, ValueError: it is missing, or is no manifest of this release.
    """
    found = Manifest.model_validate_json(store.get(url(run_url, entry.manifest_key)))
    if (found.format, found.step) != (FORMAT, entry.step):
        raise ValueError(
            f"format {found.format} and step {found.step} instead of {FORMAT} and {entry.step}"
        )
    return found


def faults(store: ObjectStore, run_url: str, entry: Entry) -> Iterator[str]:
    """Sentences about what is missing or has other bytes. Blocking.

    Looks at the size of every object, and at the bytes of manifest and ledger. Those of the states,
    terabytes of a large model, are checked by the ranks that load them.
    """
    try:
        manifest = read_manifest(store, run_url, entry)
    except (ObjectNotFoundError, ValidationError, ValueError) as error:
        yield f"{url(run_url, entry.manifest_key)} is no manifest ({error})."
        return

    def wrong_size(one: StoredObject) -> str:
        place, size = url(run_url, one.key), store.size(url(run_url, one.key))
        if size is None:
            return f"{place} is missing."
        return "" if size == one.size else f"{place} has {size} bytes instead of {one.size}."

    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="sizes") as pool:
        yield from filter(None, pool.map(wrong_size, [*manifest.objects, manifest.ledger]))
    ledger = url(run_url, manifest.ledger.key)
    if _digest(store, ledger, manifest.ledger.size) != manifest.ledger.sha256:
        yield f"{ledger} has another SHA-256 than its manifest names."


def _digest(store: ObjectStore, place: str, size: int) -> str:
    digest = hashlib.sha256()
    for start in range(0, size, READ_BYTES):
        digest.update(store.read_range(place, start, READ_BYTES))
    return digest.hexdigest()
