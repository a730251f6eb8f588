"""The page's first answer as values: a headline number and rows of measures with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sea_data.evaluation.passk import LABELS, MEASURES
from sea_data.evaluation.scores import AVERAGE

Result = Mapping[str, Any]
Interval = Sequence[float]
Intervals = Mapping[str, Mapping[str, Interval | None]]


@dataclass(frozen=True)
class Change:
    """Distance in points to the run's evaluation before this one."""

    points: float
    stage: str

    @property
    def direction(self) -> str:
        return "up" if self.points > 0 else "down" if self.points < 0 else "same"


@dataclass(frozen=True)
class Headline:
    """pass^1 in percent, with its interval and its distance to the evaluation before."""

    value: float
    measure: str
    interval: Interval | None
    change: Change | None


@dataclass(frozen=True)
class Measure:
    """One number of a row; `value` in percent, None where no task has that many trials."""

    name: str
    value: float | None
    interval: Interval | None

    @property
    def label(self) -> str:
        return LABELS[self.name]

    @property
    def kind(self) -> str:
        """Class of its bar."""
        return "at" if self.name == "passAt4" else "hat"

    @property
    def title(self) -> str:
        text = f"{self.label}: {self.value:.1f} %"
        if self.interval:
            text += f", 95% interval {self.interval[0]:.1f} to {self.interval[1]:.1f}"
        return text


@dataclass(frozen=True)
class Row:
    """One domain, or the average of several; counts as readers see them."""

    name: str
    average: bool
    tasks: str
    episodes: str
    measures: Sequence[Measure]


@dataclass(frozen=True)
class Table:
    """Domains by measures; below them the run's earlier evaluations."""

    columns: Sequence[str]
    rows: Sequence[Row]
    earlier: Sequence[Row]
    notes: Sequence[str] = ()
    """What the numbers leave out; empty for reports of older releases."""


def headline(report: Mapping[str, Any], earlier: Sequence[Result]) -> Headline | None:
    """None for an evaluation without any verdict."""
    results = report["results"]
    if not results:
        return None
    main = results[-1]
    average = len(results) > 2
    measure = "average over domains" if average else results[0]["domain"]
    interval = _intervals(report).get(main["domain"], {}).get("passHat1")
    return Headline(main["passHat1"], f"pass^1, {measure}", interval, _change(main, earlier))


def table(report: Mapping[str, Any], earlier: Sequence[Result]) -> Table:
    """All numbers of the report and of the evaluations before it."""
    known = _intervals(report)
    return Table(
        columns=["Domain", "Tasks", "Episodes", *LABELS.values()],
        rows=[
            _row(result, known.get(result["domain"], {}), result["domain"])
            for result in _shown(report["results"])
        ],
        earlier=[
            _row(result, {}, f"{result['stage']} · {result['domain']}")
            for result in _shown(earlier)
        ],
        notes=report.get("notes") or (),
    )


def _intervals(report: Mapping[str, Any]) -> Intervals:
    """Confidence intervals by domain and measure; empty for reports that have none."""
    found: Intervals = (report.get("confidence") or {}).get("intervals") or {}
    return found


def _change(main: Result, earlier: Sequence[Result]) -> Change | None:
    before = [result for result in earlier if result["domain"] == AVERAGE]
    if not before:
        return None
    return Change(main["passHat1"] - before[-1]["passHat1"], before[-1]["stage"])


def _shown(results: Sequence[Result]) -> list[Result]:
    """Leaves the average out where there is one domain only: it would repeat its numbers."""
    stages = [result["stage"] for result in results]
    return [r for r in results if r["domain"] != AVERAGE or stages.count(r["stage"]) > 2]


def _row(result: Result, known: Mapping[str, Any], name: str) -> Row:
    return Row(
        name,
        result["domain"] == AVERAGE,
        f"{result['tasks']:,}",
        f"{result['episodes']:,}",
        [Measure(measure, result.get(measure), known.get(measure)) for measure in MEASURES],
    )
