"""The daemons' logs: bounded, and read over the cut.

A daemon writes its output to `NAME.log` by itself, opened for appending. When the file has become
too long its newest half is kept as `NAME.log.old` and the file is cut to nothing in place; what the
daemon writes next goes to its new end. `Daemon.start` looks once, the first node's agent now and
then (`node.agent`).
"""

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

MAX_BYTES = 16 << 20
"""A log longer than this is cut; with what is kept of it, at most half as much again."""
_LINE_BYTES = 1 << 12
"""Bytes that are read for each line that is asked for; longer lines cost some of the lines."""


def old_file(path: Path) -> Path:
    """Where the newest half of the last cut lies."""
    return path.with_name(f"{path.name}.old")


def shorten(path: Path, limit: int = MAX_BYTES) -> bool:
    """Cuts a log that is longer than `limit` bytes; True if it was.

    The half that is kept is read before the cut and written after it: that works on a full disk,
    too. What a daemon writes between the last read and the cut, microseconds, is lost.
    """
    try:
        with path.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= limit:
                return False
            file.seek(size - limit // 2)
            kept = file.read()
            file.truncate(0)
    except FileNotFoundError:
        return False
    old_file(path).write_bytes(kept.partition(b"\n")[2])
    return True


def shorten_all(folder: Path, limit: int = MAX_BYTES) -> None:
    """Cuts the logs of a folder that have become too long; one that cannot be cut is told."""
    for path in folder.glob("*.log"):
        try:
            shorten(path, limit)
        except OSError as error:
            log.warning("The log %s cannot be cut: %s", path, error)


def last_lines(path: Path, count: int) -> tuple[str, int]:
    """The last `count` lines, of `NAME.log.old` as well where the log was just cut.

    Returns:
        Text; bytes of `path` that were looked at: whoever follows the log goes on behind them.

    Raises:
        FileNotFoundError: There is no such log.
    """
    room = count * _LINE_BYTES
    newest, size = _end(path, room)
    lines = newest.splitlines(keepends=True)
    if len(lines) < count and old_file(path).exists():
        older, _ = _end(old_file(path), room)
        lines = older.splitlines(keepends=True) + lines
    return "".join(lines[-count:] if count else []), size


def _end(path: Path, room: int) -> tuple[str, int]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - room))
        content = file.read(min(size, room))
    whole = content if size <= room else content.partition(b"\n")[2]
    return whole.decode(errors="replace"), size
