"""What `sea evaluate` prints at its end: the table, the failures, and why verdicts are missing."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sea_cli.common import say
from sea_data.evaluation.passk import LABELS, MEASURES
from sea_data.evaluation.records import EpisodeRecord

MAX_REASONS = 3
"""Reasons on the last line why episodes have no verdict."""


def show(report: dict[str, Any], out: Path) -> None:
    """The scores by domain with their intervals, the failures, and where the files are."""
    intervals = report["confidence"]["intervals"]
    say(f"{'domain':<12}{'tasks':>7}{'episodes':>10}" + "".join(f"{n:>9}" for n in LABELS.values()))
    shown = report["results"][:-1] if len(report["results"]) == 2 else report["results"]
    for item in shown:
        values = "".join(_number(item[name]) for name in MEASURES)
        say(f"{item['domain']:<12}{item['tasks']:>7}{item['episodes']:>10}{values}")
        low_high = [intervals.get(item["domain"], {}).get(name) for name in MEASURES]
        if any(low_high):
            say(f"{'  95%':<29}" + "".join(f"{_range(pair):>9}" for pair in low_high))
    for note in report["notes"]:
        say(note)
    for domain, kinds in report["failures"].items():
        if kinds:
            say(f"failures, {domain}: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()))
    say(f"{out / 'report.html'}  {out / 'scores.json'}  {out / 'episodes.jsonl'}")


def _number(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:>9.1f}"


def _range(pair: list[float] | None) -> str:
    return f"{pair[0]:.0f}-{pair[1]:.0f}" if pair else ""


def reasons(played: Sequence[EpisodeRecord], planned: int) -> str:
    """Why episodes have no verdict: how many for each of the most frequent reasons. Pure."""
    errors = Counter(record.error for record in played if record.reward is None)
    said = [f"{count} because: {error}" for error, count in errors.most_common(MAX_REASONS)]
    others = errors.total() - sum(count for _, count in errors.most_common(MAX_REASONS))
    said += [f"{others} for other reasons (episodes.jsonl has each)."] if others else []
    waiting = planned - len(played)
    said += [f"{waiting} not played."] if waiting > 0 else []
    return " ".join(said)
