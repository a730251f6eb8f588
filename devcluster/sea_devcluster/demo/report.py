"""What a finished run says about itself: scores, step times, throughput. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Point:
    """One RL step of the learning curve."""

    step: int
    reward: float


@dataclass(frozen=True)
class Score:
    """pass^1 of one evaluation stage in percent."""

    stage: str
    pass1: float
    episodes: int
    tasks: int

    @property
    def standard_error(self) -> float:
        """Of a binomial share, in percent points."""
        share = self.pass1 / 100
        return 100 * math.sqrt(max(share * (1 - share), 1e-9) / max(self.episodes, 1))


def scores(status: dict[str, Any]) -> list[Score]:
    """Average scores of the evaluation stages in the order they ran."""
    return [
        Score(row["stage"], row["passHat1"], row["episodes"], row["tasks"])
        for row in status.get("evaluation", [])
        if row["domain"] == "average"
    ]


def curve(rows: Iterable[dict[str, Any]]) -> list[Point]:
    """Reward by RL step; a step that was computed twice counts as computed last."""
    points = {row["step"]: row["metrics"]["reward"] for row in rows if "reward" in row["metrics"]}
    return [Point(step, points[step]) for step in sorted(points)]


def metric(rows: Sequence[dict[str, Any]], name: str) -> list[float]:
    """All values of a metric of the RL stage's rows."""
    return [
        row["metrics"][name]
        for row in rows
        if "reward" in row["metrics"] and row["metrics"].get(name) is not None
    ]


def middle(values: Sequence[float]) -> float | None:
    return round(median(values), 4) if values else None


def largest(values: Sequence[float]) -> float | None:
    return max(values) if values else None


def generation_seconds(timeline: Iterable[dict[str, Any]]) -> list[float]:
    """For each RL step, from the start of its first group to the end of its last."""
    steps: dict[int, list[dict[str, Any]]] = {}
    for span in timeline:
        if span["kind"] == "generate" and span.get("step") is not None:
            steps.setdefault(span["step"], []).append(span)
    return [
        max(span["end"] for span in spans) - min(span["start"] for span in spans)
        for spans in steps.values()
    ]


def field_values(timeline: Iterable[dict[str, Any]], kind: str, name: str) -> list[float]:
    """A field of all spans of one kind, e.g. `pause_s` of the updates."""
    return [span[name] for span in timeline if span["kind"] == kind and name in span]


def busy(timeline: Iterable[dict[str, Any]], kind: str) -> list[tuple[float, float]]:
    """When at least one span of a kind ran: disjoint intervals in order."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted((s["start"], s["end"]) for s in timeline if s["kind"] == kind):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def overlap_seconds(timeline: Sequence[dict[str, Any]], one: str, other: str) -> float:
    """How long both kinds ran at the same time."""
    return sum(
        max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
        for a in busy(timeline, one)
        for b in busy(timeline, other)
    )
