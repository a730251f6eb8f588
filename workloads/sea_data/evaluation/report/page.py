"""`render`: one evaluation -> one HTML file. Pure; the caller reads files and writes the result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from sea_data.evaluation import failures
from sea_data.evaluation.records import EpisodeRecord
from sea_data.evaluation.report import curves, failing, payload, scoreboard
from sea_data.evaluation.report.markup import Html, embedded, joined, tag

_SCRIPTS = ("elements.js", "filters.js", "transcript.js", "explorer.js", "figures.js")


@dataclass(frozen=True)
class Page:
    """All that the page shows."""

    report: Mapping[str, Any]
    """`evaluation/<stage>.json`, see `scores.report`."""
    records: Sequence[EpisodeRecord]
    title: str = ""
    """Of the run: the job's or the model's name."""
    made: str = ""
    """When, for people."""
    earlier: Sequence[Mapping[str, Any]] = ()
    """`results` of the run's evaluations before this one, oldest first."""
    metrics: Sequence[Mapping[str, Any]] = ()
    """Rows of `reports/metrics.jsonl`."""


def render(page: Page) -> str:
    """The whole file."""
    ordered = sorted(page.records, key=lambda record: record.key)
    body = joined(
        [
            _header(page),
            tag("main", *_sections(page), _explorer(len(ordered))),
            embedded(payload.index(ordered), "index"),
            embedded(failing.labels(), "kinds"),
            *payload.bodies(ordered),
            tag("script", _script()),
        ]
    )
    return f'<!doctype html>\n<html lang="en">{_head(page)}{tag("body", body)}</html>\n'


def _head(page: Page) -> Html:
    # Not even a person's own browser extension may make this file load or run anything else.
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    title = " · ".join(part for part in (page.report["stage"], page.title) if part)
    return tag(
        "head",
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        tag("title", f"{title} · evaluation"),
        tag("style", Html(_asset("page.css") + _asset("explorer.css"))),
    )


def _header(page: Page) -> Html:
    facts = [tag("span", tag("b", name), value) for name, value in _facts(page)]
    theme = tag("button", "Theme", type="button", id="theme", title="Light, dark, or the system's")
    top = tag("div", tag("p", page.title or "Evaluation", klass="eyebrow"), theme, klass="top")
    return tag("header", top, tag("h1", page.report["stage"]), tag("div", *facts, klass="facts"))


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


def _sections(page: Page) -> list[Html]:
    report = page.report
    plots = curves.plots(page.metrics)
    counts = report.get("failures") or failures.count(page.records)
    played: dict[str, int] = {}
    for record in page.records:
        played[record.domain] = played.get(record.domain, 0) + 1
    return [
        _section("scores", "Scores", scoreboard.hero(report, page.earlier),
                 tag("div", scoreboard.table(report, page.earlier), klass="card")),
        _section("domains", "By domain", tag("div", scoreboard.domains(report), klass="grid"),
                 note="Bars are estimates, whiskers 95% intervals: a bootstrap over tasks."),
        _section("curves", "Over training steps", tag("div", plots, klass="curves"),
                 note="Faint: each step. Bold: moving average.") if plots else Html(),
        _section("failures", "Why episodes failed", failing.chart(counts, played),
                 note="One main reason an episode, all bars on one scale. Choose one to read its "
                 "transcripts."),
    ]  # fmt: skip


def _section(identity: str, title: str, *children: Html, note: str = "") -> Html:
    notes = [tag("p", note, klass="note")] if note else []
    return tag("section", tag("h2", title), *notes, *children, id=identity)


def _explorer(episodes: int) -> Html:
    """Empty containers; `assets/explorer.js` fills them."""
    without = tag("noscript", tag("p", "Transcripts need JavaScript; nothing else does."))
    parts = [tag("div", id=name) for name in ("filters", "list", "reader")]
    panes = tag("div", *parts[1:], klass="panes")
    keys = tag("small", *_KEYS, klass="keys")
    title = tag("h2", "Transcripts", tag("small", f"{episodes:,}"), keys)
    return tag("section", title, without, parts[0], panes, id="transcripts")


_KEYS = (tag("kbd", "j"), " ", tag("kbd", "k"), " step, ", tag("kbd", "/"), " search")


def _script() -> Html:
    return Html("(() => {\n'use strict';\n" + "\n".join(map(_asset, _SCRIPTS)) + "\n})();")


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")
