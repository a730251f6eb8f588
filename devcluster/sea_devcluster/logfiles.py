"""The daemons' logs: bounded in size, and read across a rotation.

A daemon writes its output to `NAME.log` itself, opened for appending. When the file gets too long
its newest half is kept as `NAME.log.old` and the file is truncated in place; what the daemon writes
next goes to its new end. `Daemon.start` checks once, and every node's agent every few seconds.
"""

import fcntl
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

MAX_BYTES = 16 << 20
"""A log longer than this is truncated; the half that is kept comes on top."""
_LINE_BYTES = 1 << 12
"""Bytes read per requested line; if lines are longer, fewer lines are returned."""


def old_file(path: Path) -> Path:
    """Where the newest half is kept at a rotation."""
    return path.with_name(f"{path.name}.old")


def shorten(path: Path, limit: int = MAX_BYTES) -> bool:
    """Truncates a log that is longer than `limit` bytes; True if it was.

    The half that is kept is read before and written after: that works on a full disk, too. What a
    daemon writes between the last read and the truncation, microseconds, is lost.
    """
    try:
        with path.open("r+b") as file:
            # Two agents at once would both keep a half, the second one of an empty file.
            fcntl.flock(file, fcntl.LOCK_EX)
            size = os.fstat(file.fileno()).st_size
            if size <= limit:
                return False
            file.seek(size - limit // 2)
            kept = file.read()
            # Truncated in place: the daemon's descriptor stays valid, and O_APPEND writes at the
            # new end.
            file.truncate(0)
            old_file(path).write_bytes(kept.partition(b"\n")[2])
    except FileNotFoundError:
        return False
    return True


def shorten_all(folder: Path, limit: int = MAX_BYTES) -> None:
    """Truncates the logs of a folder that are too long; warns of one that it can't."""
    for path in folder.glob("*.log"):
        try:
            shorten(path, limit)
        except OSError as error:
            log.warning("The log %s cannot be truncated: %s", path, error)


def last_lines(path: Path, count: int) -> tuple[str, int]:
    """The last `count` lines, some of them from `NAME.log.old` if the log was just truncated.

    Returns:
        The text, and the offset in `path` from which to follow the log.

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
    # The first line is cut off unless the whole file was read.
    whole = content if size <= room else content.partition(b"\n")[2]
    return whole.decode(errors="replace"), size
