"""Opens the stage's dialogue files (published `sft` JSONL layout) on rank 0.

Files in S3 are copied to the pod's disk first, unpacked: a gigabyte of rows is then read by
position, and an attempt after this one finds the copies.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sea_data.formats import data_files, sft
from sea_data.formats.errors import DataFileError, RowError
from sea_data.formats.jsonl import RowFile
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.errors import DataError

log = logging.getLogger(__name__)


@contextmanager
def planned(
    store: ObjectStore, paths: Sequence[str], folder: Path, *, skip_bad: bool
) -> Iterator[sft.Selection]:
    """What to train on of all files, in order; open until the end of the block.

    DataError names file, line, field and reason of what can't be read.
    """
    with ExitStack() as opened:
        try:
            files = [
                opened.enter_context(RowFile.open(data_files.local(path, folder, store), path))
                for path in paths
            ]
            plan = sft.select(files, skip_bad=skip_bad)
        except (RowError, DataFileError) as error:
            raise DataError(str(error)) from error
        _tell(plan.counts)
        yield plan


def _tell(report: sft.RowCounts) -> None:
    for error in report.bad:
        log.warning("row skipped: %s", error)
    log.info(
        "%d rows: %d to train on, %d within longer ones, %d of failed dialogues, %d bad.",
        report.rows,
        report.chosen,
        report.prefixes,
        report.failed,
        len(report.bad),
    )
