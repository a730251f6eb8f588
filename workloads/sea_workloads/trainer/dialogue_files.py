"""Reads the stage's dialogue files (published `sft` JSONL layout) from S3, on rank 0."""

import logging
from collections.abc import Iterator, Sequence

from sea_workloads.data import sft
from sea_workloads.data.errors import RowError
from sea_workloads.store.s3 import ObjectStore
from sea_workloads.tokens.messages import Message
from sea_workloads.trainer.errors import DataError

log = logging.getLogger(__name__)


def read(
    store: ObjectStore, paths: Sequence[str], *, skip_bad: bool, as_user: bool
) -> Iterator[Sequence[Message]]:
    """Messages of every dialogue of the files, in order.

    `as_user` exchanges the roles, so that the trained role is always the assistant. DataError
    names file and line of a row that can't be read.
    """
    files = ((path, store.get(path).splitlines()) for path in paths)
    try:
        loaded = sft.load(files, skip_bad=skip_bad)
    except RowError as error:
        raise DataError(str(error)) from error
    report = loaded.report
    log.info("%d dialogues from %d rows.", len(loaded.dialogues), report.rows)
    for dialogue in loaded.dialogues:
        yield (sft.exchange(dialogue) if as_user else dialogue).messages
