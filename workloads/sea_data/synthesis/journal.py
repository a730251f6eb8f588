"""The append-only journal of a run: what a kill leaves behind, and what a resumed run knows.

One JSON line an event. A line that a kill cut short is dropped on opening, so its item is made
again; a line that is complete is never written twice. One process at a time holds the journal.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedRandom
from pathlib import Path
from typing import Any

FILE = ".journal"
"""Hidden, so that nobody takes it for a data file."""


class JournalError(Exception):
    """The folder's journal can't be used: a sentence that says why and what to do."""

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing
        """Whether waiting may help: another process holds it."""


class Journal:
    """Open for appending; `events` reads what was there before and what was added."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        self._file: BufferedRandom = self.path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise JournalError(
                f"Another process is writing {self.path}: wait for it, or choose another folder.",
                passing=True,
            ) from error
        self._cut()

    def _cut(self) -> None:
        """Drops a last line without its end."""
        size = self._file.seek(0, os.SEEK_END)
        position = size
        while position > 0:
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
        """Adds one line and hands it to the kernel, so that a kill can't take it back."""
        line = json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n"
        self._file.write(line.encode())
        self._file.flush()

    def sync(self) -> None:
        """Survives a loss of power too."""
        os.fsync(self._file.fileno())

    def rewrite(self, pieces: Iterable[bytes]) -> None:
        """Puts whole lines in the place of what is there; a kill on the way leaves a part of them.

        In the open file, which holds the lock: another file of that name would have none.
        """
        self._file.truncate(0)
        for piece in pieces:
            self._file.write(piece)
        self._file.flush()
        self._cut()

    def first(self) -> dict[str, Any] | None:
        """The event that the journal begins with, if there is one."""
        return next(self.events(), None)

    def events(self) -> Iterator[dict[str, Any]]:
        """All events in their order; raises JournalError for a line that isn't one."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    event = json.loads(line)
                except ValueError as error:
                    raise JournalError(
                        f"{self.path}:{number} isn't valid JSON: the file was changed by hand or "
                        "is damaged. Remove the line, or start anew in another folder."
                    ) from error
                yield event

    def close(self) -> None:
        self._file.close()
