"""Tokens per second, and how much of the time produced steps that count."""

import math
from collections import deque
from collections.abc import Callable

from sea_runtime.coordinator.ledger import progress
from sea_runtime.coordinator.ledger.database import Database, Ledger
from sea_runtime.coordinator.ledger.progress import StepRow

RECENT_STEPS = 8
WINDOW_SECONDS = 30.0


def is_seconds(metric: str) -> bool:
    return metric.endswith("_s") and not metric.endswith("_per_s")


class StepTimes:
    """How long the steps of one stage took, row by row as they arrive."""

    def __init__(self) -> None:
        self.number = 0
        """Number of the newest row."""
        self._reported: dict[int, float] = {}
        """When the newest step of each attempt ended."""
        self._taken: dict[int, float] = {}
        """Seconds of each step, as it was computed last."""
        self._counted = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT_STEPS)
        self._began: float | None = None

    def add(self, row: StepRow) -> None:
        """Takes `step_s`, else the time since the attempt's previous step, else the step's parts.

        An attempt's first step counts the time that its parts (`*_s`) say, not the restart before
        it.
        """
        parts = sum(value for name, value in row.metrics.items() if is_seconds(name))
        known = self._reported.get(row.attempt)
        since = parts if known is None else row.time - known
        taken = max(0.0, row.metrics.get("step_s", since))
        self._reported[row.attempt], self.number = row.time, row.number
        # A later row of the same step replaces the earlier one.
        self._counted += taken - self._taken.get(row.step, 0.0)
        self._taken[row.step] = taken
        self._recent.append(taken)
        # Rows are written at a step's end: the first step began before its row.
        self._began = row.time - taken if self._began is None else self._began

    def goodput(self, end: float) -> float | None:
        """Share of the time since the first step began that made steps which count, 0 to 1.

        A step that was computed again after a restart counts once, with its last duration; the time
        that its first computation took is lost, like the time of the restart itself.
        """
        if self._began is None:
            return None
        total = end - self._began
        return min(1.0, self._counted / total) if total > 0 else 1.0

    def remaining_seconds(self, step: int, total_steps: int) -> float | None:
        """Time to the stage's end at the pace of the last steps; None before the first."""
        if not self._recent:
            return None
        recent = sorted(self._recent)
        # The median: one checkpoint or restart among the last steps doesn't move it.
        return max(0, total_steps - step) * recent[len(recent) // 2]


class Pace:
    """The step times of all stages, each row of the ledger read once.

    The state is asked for every second: a long run has thousands of rows with dozens of metrics.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen: Database | None = None
        self._stages: dict[str, StepTimes] = {}

    def of(self, stage: str) -> StepTimes:
        db = self._ledger.db
        # One that was restored numbers its rows from an earlier one on.
        if db is not self._seen:
            self._seen, self._stages = db, {}
        times = self._stages.setdefault(stage, StepTimes())
        for row in progress.steps(db, stage, after=times.number):
            times.add(row)
        return times


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
