"""Host buffers to and from the object store without a copy of them in memory (weight shards).

A shard may be half of what a pod's memory holds, and larger than S3 takes in one request.
"""

import io
from collections.abc import Iterable

from boto3.s3.transfer import TransferConfig

RANGE = 64 << 20
"""Bytes asked for at a time: what an error repeats."""
PIECE = 1 << 20
"""Bytes of a range that are in memory twice."""

# 4 threads and 4 chunks of 16 MiB: at most about 128 MiB of a shard are in memory twice.
PARTS = TransferConfig(
    multipart_threshold=16 << 20, multipart_chunksize=16 << 20, max_concurrency=4
)
PARTS.max_in_memory_upload_chunks = 4


class Source(io.RawIOBase):
    """A buffer as a file to be read; nothing is copied but what `read` returns."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data, self._at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        # boto3 seeks to the end and back for the size, and back again to repeat a part.
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = start + offset
        return self._at

    def readinto(self, out: memoryview) -> int:  # type: ignore[override]
        piece = self._data[self._at : self._at + len(out)]
        out[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def fill(out: memoryview, pieces: Iterable[bytes]) -> int:
    """Puts the pieces one after another into `out`; returns how many bytes there were."""
    done = 0
    for piece in pieces:
        out[done : done + len(piece)] = piece
        done += len(piece)
    return done
