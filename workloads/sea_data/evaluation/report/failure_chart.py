"""Failure kinds per domain as values: stacked bars, and a legend that filters the transcripts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sea_data.evaluation.failures import LABELS, MEANINGS, Failure

Counts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Part:
    """One failure kind's piece of a bar; `start` and `width` in percent of the figure."""

    kind: str
    title: str
    start: float
    width: float


@dataclass(frozen=True)
class Bar:
    domain: str
    note: str
    parts: list[Part]


@dataclass(frozen=True)
class Entry:
    """One line of the legend; number and share as readers see them."""

    kind: str
    label: str
    meaning: str
    number: str
    share: str


@dataclass(frozen=True)
class Chart:
    bars: list[Bar]
    legend: list[Entry]


def chart(counts: Counts, episodes: Mapping[str, int]) -> Chart | None:
    """None if every episode passed.

    Args:
        counts: episodes by domain and kind.
        episodes: played, by domain.
    """
    totals = {kind: sum(kinds.get(kind, 0) for kinds in counts.values()) for kind in Failure}
    total = sum(totals.values())
    if not total:
        return None
    shares = {name: _share(kinds, episodes.get(name, 0)) for name, kinds in counts.items()}
    full = max(shares.values())
    bars = [_bar(name, kinds, episodes.get(name, 0), full) for name, kinds in counts.items()]
    shown = sorted((kind for kind in Failure if totals[kind]), key=lambda kind: -totals[kind])
    return Chart(bars, [_entry(kind, totals[kind], total) for kind in shown])


def labels() -> dict[str, Any]:
    """What the page's script calls the kinds."""
    return {kind.value: LABELS[kind] for kind in Failure}


def _share(kinds: Mapping[str, int], episodes: int) -> float:
    return sum(kinds.values()) / episodes if episodes else 0.0


def _bar(domain: str, kinds: Mapping[str, int], episodes: int, full: float) -> Bar:
    """`full` is the share of failures that fills a bar: that of the domain with the most."""
    unjudged = kinds.get(Failure.INFRASTRUCTURE, 0)
    failed, judged = sum(kinds.values()) - unjudged, episodes - unjudged
    note = f"{failed:,} of {judged:,} failed"
    if unjudged:
        note += f", {unjudged:,} without verdict"
    return Bar(domain, note, _parts(domain, kinds, full * episodes))


def _parts(domain: str, kinds: Mapping[str, int], whole: float) -> list[Part]:
    start, found = 0.0, []
    for kind in Failure:
        number = kinds.get(kind, 0)
        if number:
            width = 100.0 * number / whole if whole else 0.0
            title = f"{domain}: {LABELS[kind]}, {number} episodes"
            found.append(Part(kind.value, title, start, width))
            start += width
    return found


def _entry(kind: Failure, number: int, total: int) -> Entry:
    share = f"{100.0 * number / total:.0f}%"
    return Entry(kind.value, LABELS[kind], MEANINGS[kind], f"{number:,}", share)
