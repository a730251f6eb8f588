"""The curves over training steps: rows of `reports/metrics.jsonl` -> one plot a metric."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sea_data.evaluation.report import figures
from sea_data.evaluation.report.markup import Html, joined, tag

PLOTTED = (
    ("reward", "Reward", "mean over the step's trajectories"),
    ("answer_loss", "Supervised loss", "on what the model writes itself"),
)
"""A stage's rows hold the one or the other: losses of RL and SFT have no common scale."""
_MOST_POINTS = 600
_SMOOTHING = 0.85


@dataclass(frozen=True)
class Point:
    """One optimizer step; `position` counts steps over all stages of the plot."""

    position: int
    stage: str
    step: int
    value: float


def plots(rows: Sequence[Mapping[str, Any]]) -> Html:
    """All plots that the rows have data for; empty without any."""
    found = [(label, note, series(rows, metric)) for metric, label, note in PLOTTED]
    return joined(_plot(label, note, points) for label, note, points in found if len(points) > 1)


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


def _plot(label: str, note: str, points: list[Point]) -> Html:
    values = [point.value for point in points]
    low, high = _range(values)
    trend = _per_stage(points)
    marks = [tag("i", f"{value:.3g}") for value in (high, (high + low) / 2, low)]
    figure = tag(
        "svg",
        *[figures.rule("grid", y=y) for y in (0.0, 50.0, 100.0)],
        *[figures.rule("stage", x=x) for x in _borders(points)],
        figures.path(_thinned(_placed(values, low, high)), "raw"),
        *[figures.path(part, "trend") for part in _trends(points, trend, low, high)],
        width="100%",
        height="100%",
    )
    drawn = tag("div", figure, klass="plot", data_points=_hover(points, trend))
    title = tag("h3", label, tag("small", note))
    last = tag("span", f"{trend[-1]:.3g}", klass="last")
    return tag(
        "figure",
        tag("figcaption", title, last),
        tag("div", tag("div", *marks, klass="axis"), drawn, klass="frame"),
        tag("div", *_stage_names(points), klass="stages"),
        klass="curve card",
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Of the axis: rewards are shown from 0 to 1, all else with a little room."""
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
) -> list[list[figures.Point]]:
    placed = _placed(trend, low, high)
    found, start = [], 0
    for part in _runs(points):
        found.append(_thinned(placed[start : start + len(part)]))
        start += len(part)
    return found


def _placed(values: Sequence[float], low: float, high: float) -> list[figures.Point]:
    last = max(len(values) - 1, 1)
    return [(100.0 * n / last, 100.0 * (high - v) / (high - low)) for n, v in enumerate(values)]


def _thinned(points: list[figures.Point]) -> list[figures.Point]:
    stride = -(-len(points) // _MOST_POINTS)
    return points[::stride] if stride > 1 else points


def _borders(points: Sequence[Point]) -> list[float]:
    """Where a stage begins, the first left out, in percent."""
    last = max(len(points) - 1, 1)
    starts = [part[0].position for part in _runs(points)][1:]
    return [100.0 * (start - 0.5) / last for start in starts]


def _stage_names(points: Sequence[Point]) -> list[Html]:
    return [
        tag("span", tag("b", part[0].stage), f" {len(part)} steps", style=f"flex:{len(part)}")
        for part in _runs(points)
    ]


def _hover(points: Sequence[Point], trend: Sequence[float]) -> str:
    stride = -(-len(points) // _MOST_POINTS)
    return json.dumps(
        [
            [f"{p.stage} step {p.step}", round(p.value, 4), round(t, 4)]
            for p, t in list(zip(points, trend, strict=True))[::stride]
        ]
    )
