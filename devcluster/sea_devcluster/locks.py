"""One command at a time: a lock file that goes away with what it guards.

The kernel gives the lock back when its holder ends, however it ends.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def exclusive(path: Path, taken: Callable[[], None]) -> Iterator[None]:
    """Holds the lock, and waits for it unless `taken` raises.

    Args:
        path: The lock file; whoever holds the lock may remove it.
        taken: Called once if somebody else has it.
    """
    with _open_locked(path, taken):
        yield


def _open_locked(path: Path, taken: Callable[[], None]) -> IO[str]:
    while True:
        file = path.open("w")
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                taken()
                fcntl.flock(file, fcntl.LOCK_EX)
            if _is_still(path, file):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # its last holder removed it: a newcomer would lock another file


def _is_still(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
