"""How far an upload is: a line now and then, since a data folder may hold gigabytes."""

import threading
import time
from collections.abc import Callable

LINE_SECONDS = 10.0
_MB = 1e6


class Progress:
    """Counts bytes, from whichever thread sends them, and tells the sum every ten seconds."""

    def __init__(
        self,
        total: int,
        tell: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._tell = tell
        self._clock = clock
        self._done = 0
        self._told = clock()
        self._lock = threading.Lock()

    def __call__(self, count: int) -> None:
        """`count` more bytes have been sent."""
        with self._lock:
            self._done += count
            if self._clock() - self._told < LINE_SECONDS:
                return
            self._told = self._clock()
            line = f"  {self._done / _MB:.0f} of {self._total / _MB:.0f} MB uploaded"
        self._tell(line)
