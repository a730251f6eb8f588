"""Tokens per second, and how much of the time produced steps that count."""

import math
from collections.abc import Callable, Sequence

from sea_runtime.coordinator.ledger.progress import StepRow

RECENT_STEPS = 8
WINDOW_SECONDS = 30.0


def is_seconds(metric: str) -> bool:
    return metric.endswith("_s") and not metric.endswith("_per_s")


def durations(rows: Sequence[StepRow]) -> list[float]:
    """Seconds of each step: `step_s`, else since the attempt's previous step, else its parts.

    An attempt's first step counts the time that its parts (`*_s`) say, not the restart before it.
    """
    previous: dict[int, float] = {}
    found = []
    for row in rows:
        parts = sum(value for name, value in row.metrics.items() if is_seconds(name))
        since = row.time - previous[row.attempt] if row.attempt in previous else parts
        found.append(max(0.0, row.metrics.get("step_s", since)))
        previous[row.attempt] = row.time
    return found


def goodput(rows: Sequence[StepRow], end: float) -> float | None:
    """Share of the time since the first step began that made steps which count, 0 to 1.

    A step that was computed again after a restart counts once, with its last duration; the time
    that its first computation took is lost, like the time of the restart itself.
    """
    if not rows:
        return None
    seconds = durations(rows)
    # A later row of the same step replaces the earlier one.
    last = {row.step: taken for row, taken in zip(rows, seconds, strict=True)}
    # Rows are written at a step's end: the first step began before its row.
    total = end - (rows[0].time - seconds[0])
    return min(1.0, sum(last.values()) / total) if total > 0 else 1.0


def remaining_seconds(rows: Sequence[StepRow], step: int, total_steps: int) -> float | None:
    """Time to the stage's end at the pace of the last steps; None before the first."""
    if not rows:
        return None
    recent = sorted(durations(rows)[-RECENT_STEPS:])
    # The median: one checkpoint or restart among the last steps doesn't move it.
    return max(0, total_steps - step) * recent[len(recent) // 2]


class Rate:
    """Exponentially decaying sum of amounts over `WINDOW_SECONDS` seconds.

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
        filled = 1.0 - math.exp(-max(self._time - self._started, 5.0) / WINDOW_SECONDS)
        return self._sum / (WINDOW_SECONDS * filled)

    def _decay(self) -> None:
        now = self._clock()
        self._sum *= math.exp(-(now - self._time) / WINDOW_SECONDS)
        self._time = now
