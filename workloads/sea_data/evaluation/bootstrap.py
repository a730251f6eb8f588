"""Confidence intervals of pass^k: the percentile bootstrap over tasks (Efron 1979).

Tasks are what an evaluation samples; the trials of one task are not independent of each other, so
whole tasks are drawn with replacement. Seeded: the same episodes give the same intervals.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sea_data.evaluation.passk import MEASURES, Trials, measures_of_task

DRAWS = 2000
LEVEL = 0.95
_CHUNK = 250

Interval = tuple[float, float]
Floats = NDArray[np.float64]


def intervals(
    domains: Mapping[str, Sequence[Trials]],
    *,
    average: str = "average",
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, dict[str, Interval | None]]:
    """(low, high) in percent by domain and measure, and those of the mean over domains.

    None where a measure is undefined, and where one task is all there is to draw from.
    """
    drawn = {
        # By name: a domain has the same interval whichever others are evaluated with it.
        name: draw(tasks, draws, np.random.default_rng([seed, zlib.crc32(name.encode())]))
        for name, tasks in domains.items()
    }
    found = {name: _named(values, level) for name, values in drawn.items()}
    if drawn:
        found[average] = _named(np.mean(list(drawn.values()), axis=0), level)
    return found


def draw(tasks: Sequence[Trials], draws: int, rng: np.random.Generator) -> Floats:
    """Shape (draws, measures): the means of resampled tasks; NaN where none defines the measure."""
    values = np.array([measures_of_task(task) for task in tasks if task], dtype=np.float64)
    if len(values) < 2:
        return np.full((draws, len(MEASURES)), np.nan)
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)
    even = np.full(len(values), 1.0 / len(values))
    parts = []
    for start in range(0, draws, _CHUNK):
        # How often each task is drawn, not which ones: one matrix product gives the means of all
        # draws of a chunk.
        counts = rng.multinomial(len(values), even, size=min(_CHUNK, draws - start))
        with np.errstate(invalid="ignore"):
            parts.append((counts @ filled) / (counts @ defined))
    return np.concatenate(parts)


def _named(values: Floats, level: float) -> dict[str, Interval | None]:
    return {name: _interval(values[:, column], level) for column, name in enumerate(MEASURES)}


def _interval(values: Floats, level: float) -> Interval | None:
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(known, [tail, 100.0 - tail])
    return float(low), float(high)
