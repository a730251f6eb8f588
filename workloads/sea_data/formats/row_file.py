"""A JSONL file of any size, read by position: only the offsets of its rows are held in memory.

Rows are keyed by position (their ids may repeat). 33,531 rows of 874 MB take half a megabyte.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sea_data.formats import lines
from sea_data.formats.errors import RowError

PIECE_BYTES = 4 << 20
Row = dict[str, Any]


class RowFile:
    """The rows of one plain file. Safe to share between threads; `close` when done."""

    def __init__(self, file: int, name: str) -> None:
        """Takes over an open file descriptor; `name` is the file in messages."""
        self.name = name
        self._file = file
        self._starts, self._sizes, self._numbers = _index(file)

    @classmethod
    def open(cls, path: Path, name: str = "") -> "RowFile":
        """`name` is the address that the file was copied from, where it was."""
        return cls(os.open(path, os.O_RDONLY), name or str(path))

    @classmethod
    def of_lines(cls, lines: Iterable[bytes], name: str) -> "RowFile":
        """Lines from anywhere, kept in a temporary file; with or without their newlines."""
        with tempfile.TemporaryFile() as file:
            for line in lines:
                file.write(line.rstrip(b"\n") + b"\n")
            file.flush()
            return cls(os.dup(file.fileno()), name)

    def __len__(self) -> int:
        return len(self._starts)

    def __enter__(self) -> "RowFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._file)

    def line(self, position: int) -> int:
        """Line number, from 1, of the row at `position`, from 0; blank lines are no rows."""
        return int(self._numbers[position])

    def raw(self, position: int) -> bytes:
        """The row's bytes, of a line that is too long only so many as to tell."""
        wanted = min(int(self._sizes[position]), lines.LONGEST_LINE + 1)
        return os.pread(self._file, wanted, int(self._starts[position]))

    def get(self, position: int) -> Row | RowError:
        """The row, or what is wrong with it."""
        return lines.parse(self.raw(position), self.name, self.line(position))

    def rows(self) -> Iterator[tuple[int, Row | RowError]]:
        """(position, row or error) of all rows in order."""
        for position in range(len(self)):
            yield position, self.get(position)

    def shuffled(self, seed: int, epoch: int) -> Iterator[tuple[int, Row | RowError]]:
        """As `rows`, in the order of that epoch: the same on every machine and after a restart."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self))
        for position in order:
            yield int(position), self.get(int(position))


Index = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _index(file: int) -> Index:
    """(offset, bytes, line number) of every line that isn't blank; one pass over the file."""
    ends: list[NDArray[np.int64]] = []
    offset = 0
    while piece := os.pread(file, PIECE_BYTES, offset):
        ends.append(np.flatnonzero(np.frombuffer(piece, np.uint8) == 10) + offset)
        offset += len(piece)
    end = np.concatenate([*ends, np.array([offset], np.int64)])
    start = np.concatenate([np.zeros(1, np.int64), end[:-1] + 1])
    size = end - start
    kept = size > 0
    lines_found = zip(start[kept], size[kept], strict=True)
    kept[kept] = [not _blank(file, int(a), int(b)) for a, b in lines_found]
    return start[kept], size[kept], np.flatnonzero(kept) + 1


def _blank(file: int, start: int, size: int) -> bool:
    """Whether a line is white space only; the first bytes tell in all but odd cases."""
    if os.pread(file, min(size, 64), start).strip():
        return False
    return not os.pread(file, size, start).strip()
