"""A lock file for one process at a time, which may be removed together with what it guards.

The kernel releases the lock when its holder ends, however it ends. Also used, before any package is
installed, by `scripts/setup.py`: standard library only, Python 3.9.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def exclusive(path: Path, taken: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Holds the lock, and waits for it unless `taken` raises.

    Args:
        path: The lock file; its holder may remove it.
        taken: Called once if another process holds it.
    """
    with _open_locked(path, taken):
        yield


def _open_locked(path: Path, taken: Callable[[], object]) -> IO[str]:
    while True:
        file = path.open("w")
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Without the lock, and may raise: the caller then doesn't wait.
                taken()
                fcntl.flock(file, fcntl.LOCK_EX)
            # The holder before us may have removed the file while we waited: our lock would guard
            # nothing.
            if _is_still(path, file):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # its last holder removed it: the next process would lock a new file


def _is_still(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
