"""Curves over training steps: rows of `reports/metrics.jsonl` -> one plot per metric."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Place = tuple[float, float]
"""In percent of the figure's width and height, from the upper left."""

PLOTTED = (
    ("reward", "Reward", "mean over the step's trajectories"),
    ("answer_loss", "Supervised loss", "on what the model writes itself"),
)
"""A stage's rows hold one of them: losses of RL and SFT have no common scale."""
_MOST_POINTS = 600
_SMOOTHING = 0.85


@dataclass(frozen=True)
class Point:
    """One optimizer step; `position` counts steps over all stages of the plot."""

    position: int
    stage: str
    step: int
    value: float


@dataclass(frozen=True)
class Plot:
    """One metric over steps, ready to draw."""

    label: str
    note: str
    last: float
    """Newest value of the moving average."""
    axis: tuple[float, float, float]
    """Marks from top to bottom."""
    raw: list[Place]
    trends: list[list[Place]]
    """The moving average, a line per stage."""
    borders: list[float]
    """Where a stage begins, the first left out, in percent."""
    hover: str
    """JSON for the page's script: [name, value, average] per drawn step."""
    stages: list[tuple[str, int]]
    """Name and number of steps."""


def plots(rows: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """All plots that the rows have data for."""
    found = [(label, note, series(rows, metric)) for metric, label, note in PLOTTED]
    return [_plot(label, note, points) for label, note, points in found if len(points) > 1]


def series(rows: Iterable[Mapping[str, Any]], metric: str) -> list[Point]:
    """The metric's values in the order of steps; of a step done twice (a restart) the last one."""
    values: dict[tuple[str, int], float] = {}
    for row in rows:
        value = (row.get("metrics") or {}).get(metric)
        if isinstance(value, int | float) and math.isfinite(value):
            values[str(row.get("stage")), int(row.get("step") or 0)] = float(value)
    stages = list(dict.fromkeys(stage for stage, _ in values))
    ordered = sorted(values.items(), key=lambda item: (stages.index(item[0][0]), item[0][1]))
    return [Point(n, stage, step, value) for n, ((stage, step), value) in enumerate(ordered)]


def smoothed(values: Sequence[float], keep: float = _SMOOTHING) -> list[float]:
    """Exponential moving average without the bias of its first values (Adam's correction)."""
    average, found = 0.0, []
    for count, value in enumerate(values, start=1):
        average = keep * average + (1 - keep) * value
        found.append(average / (1 - keep**count))
    return found


def _plot(label: str, note: str, points: list[Point]) -> Plot:
    values = [point.value for point in points]
    low, high = _range(values)
    trend = _per_stage(points)
    return Plot(
        label=label,
        note=note,
        last=trend[-1],
        axis=(high, (high + low) / 2, low),
        raw=_thinned(_placed(values, low, high)),
        trends=_trends(points, trend, low, high),
        borders=_borders(points),
        hover=_hover(points, trend),
        stages=[(part[0].stage, len(part)) for part in _runs(points)],
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Range of the axis: rewards from 0 to 1, anything else with a small margin."""
    low, high = min(values), max(values)
    if low >= 0.0 and high <= 1.0:
        return 0.0, 1.0
    room = 0.06 * (high - low) or 0.5
    return (0.0 if 0 <= low < 0.5 * high else low - room), high + room


def _per_stage(points: Sequence[Point]) -> list[float]:
    found: list[float] = []
    for part in _runs(points):
        found += smoothed([point.value for point in part])
    return found


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """The points of each stage."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.stage, []).append(point)
    return list(found.values())


def _trends(
    points: Sequence[Point], trend: Sequence[float], low: float, high: float
) -> list[list[Place]]:
    placed = _placed(trend, low, high)
    found, start = [], 0
    for part in _runs(points):
        found.append(_thinned(placed[start : start + len(part)]))
        start += len(part)
    return found


def _placed(values: Sequence[float], low: float, high: float) -> list[Place]:
    last = max(len(values) - 1, 1)
    return [(100.0 * n / last, 100.0 * (high - v) / (high - low)) for n, v in enumerate(values)]


def _thinned(points: list[Place]) -> list[Place]:
    stride = -(-len(points) // _MOST_POINTS)
    return points[::stride] if stride > 1 else points


def _borders(points: Sequence[Point]) -> list[float]:
    """Where a stage begins, the first left out, in percent."""
    last = max(len(points) - 1, 1)
    starts = [part[0].position for part in _runs(points)][1:]
    return [100.0 * (start - 0.5) / last for start in starts]


def _hover(points: Sequence[Point], trend: Sequence[float]) -> str:
    stride = -(-len(points) // _MOST_POINTS)
    return json.dumps(
        [
            [f"{p.stage} step {p.step}", round(p.value, 4), round(t, 4)]
            for p, t in list(zip(points, trend, strict=True))[::stride]
        ]
    )
