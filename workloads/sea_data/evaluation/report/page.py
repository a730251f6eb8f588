"""`render`: one evaluation -> one HTML file. Pure; the caller reads files and writes the result.

Each part of the page is a plain value made here or in a neighbor (`scoreboard`, `curves`,
`failure_chart`); `templates/` turns values into HTML with everything escaped by Jinja.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from sea_data.evaluation import failures
from sea_data.evaluation.records import EpisodeRecord
from sea_data.evaluation.report import curves, failure_chart, payload, scoreboard

_SCRIPTS = ("elements.js", "filters.js", "transcript.js", "explorer.js", "figures.js")


@dataclass(frozen=True)
class Page:
    """All that the page shows."""

    report: Mapping[str, Any]
    """`evaluation/<stage>.json`, see `scores.report`."""
    records: Sequence[EpisodeRecord]
    title: str = ""
    """Title of the run: the job's or the model's name."""
    made: str = ""
    """Date and time for readers."""
    earlier: Sequence[Mapping[str, Any]] = ()
    """`results` of the run's earlier evaluations, oldest first."""
    metrics: Sequence[Mapping[str, Any]] = ()
    """Rows of `reports/metrics.jsonl`."""


def render(page: Page) -> str:
    """The whole file."""
    report = page.report
    ordered = sorted(page.records, key=lambda record: record.key)
    counts = report.get("failures") or failures.count(page.records)
    text = (
        _templates()
        .get_template("page.html.j2")
        .render(
            stage=report["stage"],
            title=" · ".join(part for part in (report["stage"], page.title) if part),
            eyebrow=page.title or "Evaluation",
            facts=_facts(page),
            hero=scoreboard.headline(report, page.earlier),
            scores=scoreboard.table(report, page.earlier),
            plots=curves.plots(page.metrics),
            failures=failure_chart.chart(counts, _episodes_per_domain(page.records)),
            episodes=f"{len(ordered):,}",
            data=_data(ordered),
            style=Markup(_asset("page.css") + _asset("explorer.css")),  # noqa: S704 - our own file
            script=_script(),
        )
    )
    # Lone surrogates come from a model's JSON; UTF-8 has no way to write them.
    return text.encode("utf-8", "replace").decode("utf-8")


def _facts(page: Page) -> list[tuple[str, str]]:
    report, settings = page.report, page.report.get("settings") or {}
    found: list[tuple[str, Any]] = [
        ("model", settings.get("model")),
        ("weights", report.get("policyVersion")),
        ("user", settings.get("user")),
        ("trials", settings.get("trials")),
        ("temperature", settings.get("temperature")),
        ("seed", settings.get("seed")),
        ("without verdict", report.get("withoutVerdict") or None),
        ("made", page.made or None),
    ]
    return [(name, str(value)) for name, value in found if value is not None and value != ""]


def _episodes_per_domain(records: Sequence[EpisodeRecord]) -> dict[str, int]:
    played: dict[str, int] = {}
    for record in records:
        played[record.domain] = played.get(record.domain, 0) + 1
    return played


def _data(ordered: Sequence[EpisodeRecord]) -> list[Markup]:
    """Script elements that never run: what `assets/explorer.js` reads."""
    return [
        payload.embedded(payload.index(ordered), "index"),
        payload.embedded(failure_chart.labels(), "kinds"),
        *payload.bodies(ordered),
    ]


def _script() -> Markup:
    body = "\n".join(map(_asset, _SCRIPTS))
    return Markup("(() => {\n'use strict';\n" + body + "\n})();")  # noqa: S704 - our own files


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader(__package__ or ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
