"""Failure kinds by domain: stacked bars, and a legend whose entries filter the transcripts."""

from collections.abc import Mapping
from typing import Any

from sea_data.evaluation.failures import LABELS, MEANINGS, Failure
from sea_data.evaluation.report import figures
from sea_data.evaluation.report.markup import Html, tag

Counts = Mapping[str, Mapping[str, int]]


def chart(counts: Counts, episodes: Mapping[str, int]) -> Html:
    """`counts` by domain and kind, `episodes` played by domain."""
    totals = {kind: sum(kinds.get(kind, 0) for kinds in counts.values()) for kind in Failure}
    if not any(totals.values()):
        return tag("p", "Every episode passed.", klass="empty")
    shares = {name: _share(kinds, episodes.get(name, 0)) for name, kinds in counts.items()}
    full = max(shares.values())
    bars = [_bar(name, kinds, episodes.get(name, 0), full) for name, kinds in counts.items()]
    shown = sorted((kind for kind in Failure if totals[kind]), key=lambda kind: -totals[kind])
    legend = [_entry(kind, totals[kind], sum(totals.values())) for kind in shown]
    return tag(
        "div",
        tag("div", *bars, klass="stacks"),
        tag("div", *legend, klass="legend"),
        klass="card failures",
    )


def _share(kinds: Mapping[str, int], episodes: int) -> float:
    return sum(kinds.values()) / episodes if episodes else 0.0


def _bar(domain: str, kinds: Mapping[str, int], episodes: int, full: float) -> Html:
    """`full` is the share of failures that fills the bar: that of the domain with the most."""
    parts = [
        (kind.value, float(kinds[kind]), f"{domain}: {LABELS[kind]}, {kinds[kind]} episodes")
        for kind in Failure
        if kinds.get(kind)
    ]
    unjudged = kinds.get(Failure.INFRASTRUCTURE, 0)
    failed, judged = sum(kinds.values()) - unjudged, episodes - unjudged
    said = f"{failed:,} of {judged:,} failed"
    if unjudged:
        said += f", {unjudged:,} without verdict"
    return tag(
        "div",
        tag("span", tag("b", domain), tag("small", said)),
        figures.stack(parts, full * episodes),
        klass="stack-row",
    )


def _entry(kind: Failure, number: int, total: int) -> Html:
    return tag(
        "button",
        tag("i", klass=f"swatch {kind.value}"),
        tag("span", LABELS[kind], tag("small", MEANINGS[kind])),
        tag("b", f"{number:,}"),
        tag("em", f"{100.0 * number / total:.0f}%"),
        type="button",
        data_kind=kind.value,
        title="Show these transcripts",
    )


def labels() -> dict[str, Any]:
    """What the page's script calls the kinds."""
    return {kind.value: LABELS[kind] for kind in Failure}
