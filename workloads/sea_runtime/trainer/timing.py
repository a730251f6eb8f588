"""Seconds of named parts of a step, for StageProgress."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Adds up wall-clock seconds by name; `take` reads and clears them."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - started
            self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def take(self, *names: str) -> dict[str, float]:
        """Seconds since the last call; the given names are there even if they took no time."""
        taken = dict.fromkeys(names, 0.0) | self._seconds
        self._seconds = {}
        return taken
