"""Sends a growing journal after its writer, from a thread: the run never waits for the store."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from sea_data.object_store import StoreError
from sea_data.synthesis.archive import Archive
from sea_data.synthesis.journal import JournalError

log = logging.getLogger(__name__)

PIECE = 1 << 20
"""Bytes of journal that are sent at once, however young."""
EVERY_S = 10.0
"""Longest time that a line of the journal exists on the volume alone, while the store answers."""
LOOK_S = 0.5


def due(grown: int, waited_s: float) -> bool:
    """Whether it is time to send, `grown` bytes and `waited_s` after the last time. Pure."""
    return grown >= PIECE or (grown > 0 and waited_s >= EVERY_S)


class Keeping:
    """A context: inside it the archive follows the journal, at its end it holds all of it.

    An outage of the store only delays; what ends the run is another writer.
    """

    def __init__(
        self, archive: Archive, path: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._archive, self._path, self._clock = archive, path, clock
        self._over = threading.Event()
        self._lost: JournalError | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True, name="journal")

    def __enter__(self) -> "Keeping":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        if kind is None:
            self.check()
            self._archive.extend(self._path)
        elif issubclass(kind, Exception) and self._lost is None:
            with contextlib.suppress(StoreError, JournalError, OSError):
                self._archive.extend(self._path)

    def check(self) -> None:
        """Raises JournalError once another process has taken the run over."""
        if self._lost is not None:
            raise self._lost

    def _follow(self) -> None:
        sent_at = self._clock()
        while not self._over.wait(LOOK_S):
            try:
                if due(self._path.stat().st_size - self._archive.size, self._clock() - sent_at):
                    self._archive.extend(self._path)
                    sent_at = self._clock()
            except JournalError as error:
                self._lost = error
                return
            except (StoreError, OSError) as error:
                log.warning("the journal isn't kept in the store for the moment: %s", error)
