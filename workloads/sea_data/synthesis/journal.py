"""The append-only journal of a run: one JSON line per event, from which a killed run resumes.

Opening drops a last line that a kill cut short, so its item is made again; a complete line is never
written twice. One process at a time holds the journal.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedRandom
from pathlib import Path
from typing import Any

from sea_data.errors import DataError

FILE = ".journal"
"""Hidden, so that it isn't mistaken for a data file."""


class JournalError(DataError):
    """The folder's journal can't be used until something is changed."""


class JournalTakenError(JournalError):
    """Another process writes the journal or its archive."""

    permanent = False


class Journal:
    """Holds the lock and appends; `events` reads old and appended events."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        # "a+b": O_APPEND puts every write at the end, wherever a read has left the position.
        self._file: BufferedRandom = self.path.open("a+b")
        try:
            # The lock belongs to the open file, so the kernel drops it however this process ends.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise JournalTakenError(
                f"Another process is writing {self.path}: wait for it, or choose another folder."
            ) from error
        # Under the lock: it could be the line that another process is writing.
        self._drop_partial_line()

    def _drop_partial_line(self) -> None:
        size = self._file.seek(0, os.SEEK_END)
        position = size
        while position > 0:
            # Backwards in blocks: the last line may be long, the journal gigabytes.
            start = max(0, position - 65536)
            self._file.seek(start)
            block = self._file.read(position - start)
            found = block.rfind(b"\n")
            if found >= 0:
                position = start + found + 1
                break
            position = start
        if position != size:
            self._file.truncate(position)

    def append(self, event: Mapping[str, Any]) -> None:
        """Appends one line and hands it to the kernel, so that it survives this process.

        Not a loss of power: that takes `sync`.
        """
        line = json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n"
        self._file.write(line.encode())
        # To the kernel per event: a kill of this process loses at most the line that is being
        # written.
        self._file.flush()

    def sync(self) -> None:
        """Flushes to disk, so that what was appended survives a loss of power too."""
        os.fsync(self._file.fileno())

    def rewrite(self, pieces: Iterable[bytes]) -> None:
        """Replaces the content with complete lines; a kill meanwhile leaves some of them."""
        # In the open file, which holds the lock: a new file of that name would have none.
        self._file.truncate(0)
        for piece in pieces:
            self._file.write(piece)
        self._file.flush()
        self._drop_partial_line()

    def first(self) -> dict[str, Any] | None:
        """The journal's first event; None if it is empty."""
        return next(self.events(), None)

    def events(self) -> Iterator[dict[str, Any]]:
        """All events in order; raises JournalError for a line that isn't JSON."""
        # A reader of its own: the position of the appending file stays untouched.
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    event = json.loads(line)
                except ValueError as error:
                    raise JournalError(
                        f"{self.path}:{number} isn't valid JSON: the file was changed by hand or "
                        "is damaged. Remove the line, or start again in another folder."
                    ) from error
                yield event

    def close(self) -> None:
        self._file.close()
