"""JSONL files: bytes -> numbered rows, and files of any size read by position.

`objects` reads a stream of lines; `RowFile` holds only the offsets of a file's rows in memory: half
a megabyte for 33,531 rows of 874 MB. Rows are identified by position, since their ids may repeat.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sea_data.errors import RowError
from sea_env.tokens import plain_json

MAX_LINE_BYTES = 16 << 20
"""Many times an argument of a million characters, but not a file without newlines."""
_PIECE_BYTES = 4 << 20
Row = dict[str, Any]


def split(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Lines without their ends; a line longer than `MAX_LINE_BYTES` is cut one byte above it."""
    rest: list[bytes] = []
    held = 0
    for piece in pieces:
        # `held` bounds what is kept of a line that goes on: a file without newlines must not fill
        # the memory. One byte more than allowed is kept, so that `parse` sees that it was too long.
        first, *others = piece.split(b"\n")
        rest.append(first[: max(0, MAX_LINE_BYTES + 1 - held)])
        held += len(rest[-1])
        for line in others:
            yield b"".join(rest)
            rest, held = [line[: MAX_LINE_BYTES + 1]], min(len(line), MAX_LINE_BYTES + 1)
    if held:
        yield b"".join(rest)


def objects(lines: Iterable[bytes], file: str) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """(line number from 1, row or error) for every line that isn't blank."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, parse(line, file, number)


def parse(line: bytes, file: str, number: int) -> dict[str, Any] | RowError:
    """One line as a row, or the error that says what is wrong with it."""
    if len(line) > MAX_LINE_BYTES:
        return RowError("", f"is longer than {MAX_LINE_BYTES >> 20} MiB", file, number)
    try:
        # Windows writes a byte order mark before a text.
        value = plain_json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        return RowError("", f"isn't valid UTF-8 (byte {error.start})", file, number)
    except ValueError as error:
        return RowError("", f"isn't valid JSON: {error}", file, number)
    if not isinstance(value, dict):
        return RowError("", "must be a JSON object", file, number)
    return value


def dumps(row: Mapping[str, Any]) -> str:
    """One line of JSONL."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"


class RowFile:
    """The rows of one plain file, by position. Safe to share between threads; `close` when done."""

    def __init__(self, file: int, name: str) -> None:
        """Takes ownership of an open file descriptor; errors call the file `name`."""
        self.name = name
        self._file = file
        self._starts, self._sizes, self._numbers = _index(file)

    @classmethod
    def open(cls, path: Path, name: str = "") -> "RowFile":
        """`name` is the address that the file was copied from, if it was."""
        return cls(os.open(path, os.O_RDONLY), name or str(path))

    @classmethod
    def of_lines(cls, lines: Iterable[bytes], name: str) -> "RowFile":
        """Copies lines, with or without newlines, into a temporary file."""
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
        """Line number, from 1, of the row at `position`, from 0. Blank lines are no rows."""
        return int(self._numbers[position])

    def raw(self, position: int) -> bytes:
        """The row's bytes; a line longer than `MAX_LINE_BYTES` is cut one byte above it."""
        wanted = min(int(self._sizes[position]), MAX_LINE_BYTES + 1)
        return os.pread(self._file, wanted, int(self._starts[position]))

    def get(self, position: int) -> Row | RowError:
        """The row, or the error that says what is wrong with it."""
        return parse(self.raw(position), self.name, self.line(position))

    def rows(self) -> Iterator[tuple[int, Row | RowError]]:
        """(position, row or error) of all rows in order."""
        for position in range(len(self)):
            yield position, self.get(position)

    def shuffled(self, seed: int, epoch: int) -> Iterator[tuple[int, Row | RowError]]:
        """As `rows`, in the epoch's order, the same on all machines and after a restart."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self))
        for position in order:
            yield int(position), self.get(int(position))


Index = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _index(file: int) -> Index:
    """(offset, bytes, line number) of every line that isn't blank; one pass over the file."""
    ends: list[NDArray[np.int64]] = []
    offset = 0
    while piece := os.pread(file, _PIECE_BYTES, offset):
        ends.append(np.flatnonzero(np.frombuffer(piece, np.uint8) == 10) + offset)
        offset += len(piece)
    end = np.concatenate([*ends, np.array([offset], np.int64)])
    start = np.concatenate([np.zeros(1, np.int64), end[:-1] + 1])
    size = end - start
    kept = size > 0
    lines_found = zip(start[kept], size[kept], strict=True)
    # The right-hand side has one entry per kept line: lines that are white space only are dropped
    # too.
    kept[kept] = [not _blank(file, int(a), int(b)) for a, b in lines_found]
    return start[kept], size[kept], np.flatnonzero(kept) + 1


def _blank(file: int, start: int, size: int) -> bool:
    """True if a line is only white space; reads the whole line only if its beginning is."""
    if os.pread(file, min(size, 64), start).strip():
        return False
    return not os.pread(file, size, start).strip()
