"""JSONL files in S3, plain or compressed, read in pieces: the largest is close to a gigabyte."""

from collections.abc import Iterator

from sea_data.errors import DataFileError, NoSuchFileError
from sea_data.formats import data_files
from sea_data.object_store import AccessDeniedError
from sea_runtime.coordinator.data.problems import DataProblem
from sea_runtime.store.s3 import ObjectStore


def lines(store: ObjectStore, url: str) -> Iterator[bytes]:
    """All lines of an object, blank ones too, so that counting them gives line numbers.

    Raises:
        DataProblem: there is no such object, it may not be read, or it is damaged.
    """
    try:
        yield from data_files.lines(url, store)
    except NoSuchFileError as error:
        raise DataProblem(
            "DataNotFound",
            f"{url} does not exist. Upload the file or correct the address in the job's spec.",
        ) from error
    except DataFileError as error:
        raise DataProblem("BadFile", str(error)) from error
    except AccessDeniedError as error:
        raise DataProblem("AccessDenied", str(error)) from error
