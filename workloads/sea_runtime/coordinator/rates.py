"""Tokens a second, smoothed so that the number neither jumps nor lags."""

import math
from collections.abc import Callable

WINDOW_S = 30.0


class Rate:
    """Exponentially decaying sum of amounts over `WINDOW_S` seconds.

    Corrected for the time before it was full, so that the first seconds don't read too low.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started: float | None = None
        self._time = clock()
        self._sum = 0.0

    def add(self, amount: float) -> None:
        self._decay()
        self._started = self._time if self._started is None else self._started
        self._sum += amount

    def per_second(self) -> float | None:
        """None before the first amount."""
        if self._started is None:
            return None
        self._decay()
        # Amounts arrive at the end of the work that made them: count at least some seconds.
        filled = 1.0 - math.exp(-max(self._time - self._started, 5.0) / WINDOW_S)
        return self._sum / (WINDOW_S * filled)

    def _decay(self) -> None:
        now = self._clock()
        self._sum *= math.exp(-(now - self._time) / WINDOW_S)
        self._time = now
