"""JSONL objects in S3, read in pieces: the largest published file is close to a gigabyte."""

from collections.abc import Iterator

from sea_workloads.coordinator.data.problems import DataProblem
from sea_workloads.store.errors import AccessDeniedError, ObjectNotFoundError
from sea_workloads.store.s3 import ObjectStore

PIECE_BYTES = 8 << 20


def lines(store: ObjectStore, url: str) -> Iterator[bytes]:
    """All lines of an object, blank ones too, so that counting them gives line numbers.

    Raises:
        DataProblem: there is no such object, or it may not be read.
    """
    rest = b""
    for piece in _pieces(store, url):
        *complete, rest = (rest + piece).split(b"\n")
        yield from complete
    if rest:
        yield rest


def _pieces(store: ObjectStore, url: str) -> Iterator[bytes]:
    try:
        size = store.size(url)
        if size is None:
            raise ObjectNotFoundError
        for start in range(0, size, PIECE_BYTES):
            yield store.read_range(url, start, PIECE_BYTES)
    except ObjectNotFoundError as error:
        raise DataProblem(
            "DataNotFound",
            f"{url} does not exist. Upload the file or correct the address in the job's spec.",
        ) from error
    except AccessDeniedError as error:
        raise DataProblem(
            "AccessDenied",
            f"{url} may not be read. Give the keys in spec.storage.credentialsSecret the right to.",
        ) from error
