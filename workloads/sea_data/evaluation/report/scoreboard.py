"""The page's first answer: one big number, the table of scores, bars with intervals by domain."""

from collections.abc import Mapping, Sequence
from typing import Any

from sea_data.evaluation.measures import LABELS, MEASURES
from sea_data.evaluation.report import figures
from sea_data.evaluation.report.markup import Html, joined, tag
from sea_data.evaluation.scores import AVERAGE

Result = Mapping[str, Any]
Intervals = Mapping[str, Mapping[str, Sequence[float] | None]]


def intervals(report: Mapping[str, Any]) -> Intervals:
    """By domain and measure; empty for reports of before there were any."""
    found: Intervals = (report.get("confidence") or {}).get("intervals") or {}
    return found


def hero(report: Mapping[str, Any], earlier: Sequence[Result]) -> Html:
    """pass^1 in large, with its interval and its distance to the evaluation before."""
    results = report["results"]
    if not results:
        return tag("p", "No episode of this evaluation has a verdict.", klass="empty")
    main = results[-1]
    value, interval = main["passHat1"], intervals(report).get(main["domain"], {}).get("passHat1")
    parts = [tag("div", tag("b", f"{value:.1f}"), tag("span", "%"), klass="number")]
    what = "pass^1, average over domains" if len(results) > 2 else f"pass^1, {_only(results)}"
    notes = [tag("strong", what)]
    if interval:
        notes.append(tag("span", f"95% interval {interval[0]:.1f} to {interval[1]:.1f}"))
    notes += _change(main, earlier)
    return tag("div", *parts, tag("div", *notes, klass="notes"), klass="hero")


def _only(results: Sequence[Result]) -> str:
    return str(results[0]["domain"])


def _change(main: Result, earlier: Sequence[Result]) -> list[Html]:
    before = [item for item in earlier if item["domain"] == AVERAGE]
    if not before:
        return []
    change = main["passHat1"] - before[-1]["passHat1"]
    name = "up" if change > 0 else "down" if change < 0 else "same"
    said = f"{change:+.1f} points since {before[-1]['stage']}"
    return [tag("span", said, klass=f"change {name}")]


def table(report: Mapping[str, Any], earlier: Sequence[Result]) -> Html:
    """Domains by measures, intervals below the numbers; earlier evaluations beneath."""
    head = tag("tr", *[tag("th", name) for name in _columns()])
    known = intervals(report)
    rows = [_row(item, known.get(item["domain"], {})) for item in _shown(report["results"])]
    bodies = [tag("tbody", *rows)]
    if earlier:
        title = tag("th", "Earlier evaluations of this run", colspan=len(_columns()))
        old = [_row(item, {}, f"{item['stage']} · {item['domain']}") for item in _shown(earlier)]
        bodies.append(tag("tbody", tag("tr", title), *old, klass="earlier"))
    return tag("div", tag("table", tag("thead", head), *bodies, klass="scores"), klass="scroll")


def _columns() -> list[str]:
    return ["Domain", "Tasks", "Episodes", *LABELS.values()]


def _shown(results: Sequence[Result]) -> list[Result]:
    """With one domain the average says the same again."""
    stages = [item["stage"] for item in results]
    return [r for r in results if r["domain"] != AVERAGE or stages.count(r["stage"]) > 2]


def _row(item: Result, known: Mapping[str, Any], name: str = "") -> Html:
    cells = [tag("th", name or item["domain"], scope="row")]
    cells += [tag("td", f"{item[count]:,}") for count in ("tasks", "episodes")]
    cells += [_cell(item.get(measure), known.get(measure)) for measure in MEASURES]
    return tag("tr", *cells, klass="average" if item["domain"] == AVERAGE else None)


def _cell(value: float | None, interval: Sequence[float] | None) -> Html:
    if value is None:
        return tag("td", tag("span", "\N{EN DASH}", title="No task has that many trials."))
    small = [tag("small", f"{interval[0]:.1f} \N{EN DASH} {interval[1]:.1f}")] if interval else []
    return tag("td", tag("b", f"{value:.1f}"), *small)


def domains(report: Mapping[str, Any]) -> Html:
    """One card a domain: a bar a measure, whiskers for the intervals."""
    known = intervals(report)
    return joined(_card(item, known.get(item["domain"], {})) for item in _shown(report["results"]))


def _card(item: Result, known: Mapping[str, Any]) -> Html:
    rows = [
        _bar(measure, item[measure], known.get(measure))
        for measure in MEASURES
        if item.get(measure) is not None
    ]
    note = tag("small", f"{item['tasks']:,} tasks, {item['episodes']:,} episodes")
    average = " average" if item["domain"] == AVERAGE else ""
    return tag("figure", tag("h3", item["domain"], note), *rows, klass=f"card domain{average}")


def _bar(measure: str, value: float, interval: Sequence[float] | None) -> Html:
    said = f"{LABELS[measure]}: {value:.1f} %"
    if interval:
        said += f", 95% interval {interval[0]:.1f} to {interval[1]:.1f}"
    name = "at" if measure == "passAt4" else "hat"
    return tag(
        "div",
        tag("span", LABELS[measure]),
        figures.bar(value, interval, said),
        tag("b", f"{value:.1f}"),
        klass=f"row {name}",
    )
