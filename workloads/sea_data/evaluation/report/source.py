"""A folder of results, from `sea evaluate` or a job -> a `Page`."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sea_data.errors import RowError
from sea_data.evaluation import records, scores
from sea_data.evaluation.records import EpisodeRecord
from sea_data.evaluation.report.page import Page
from sea_data.formats import jsonl

EPISODES = "episodes.jsonl"
FOLDER = "evaluation"
"""Folder of a job's evaluations, in the run's folder."""
_EPISODES = f".{EPISODES}"
_BESIDE = ("scores.json", "metrics.jsonl", "reports/metrics.jsonl")


@dataclass(frozen=True)
class Source:
    """The files of one evaluation."""

    episodes: Path
    scores: Path
    stage: str


def find(path: Path, stage: str = "") -> Source:
    """The evaluation in a file or folder; raises RowError where there is none, or several."""
    if path.is_file():
        return _source(path)
    if not path.is_dir():
        raise RowError("", "does not exist", str(path), 0)
    found = [
        _source(file)
        for pattern in (EPISODES, f"*{_EPISODES}", f"{FOLDER}/*{_EPISODES}")
        for file in sorted(path.glob(pattern))
    ]
    chosen = [source for source in found if not stage or source.stage == stage]
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        wanted = f"the stage {stage}" if stage else f"episodes.jsonl or *{_EPISODES}"
        raise RowError(
            "", f"has no evaluation: {wanted} is neither in it nor in evaluation/", str(path), 0
        )
    names = ", ".join(source.stage for source in chosen)
    raise RowError(
        "", f"holds several evaluations: choose one of {names} with --stage", str(path), 0
    )


def wanted(stage: str = "") -> Callable[[str], bool]:
    """Which files of a folder `find` and `load` look at, by their path in it."""

    def is_wanted(path: str) -> bool:
        inner = path.removeprefix(f"{FOLDER}/")
        if "/" in inner:
            return inner in _BESIDE
        if inner.endswith(EPISODES):
            return not stage or inner in (EPISODES, f"{stage}{_EPISODES}")
        return inner.endswith(".json") or inner in _BESIDE

    return is_wanted


def load(source: Source, title: str = "", made: str = "") -> Page:
    """Scores are computed from the episodes; the JSON next to them adds settings and versions.

    Raises RowError for a broken line.
    """
    known = _json(source.scores)
    played = _records(source.episodes)
    facts = {name: known[name] for name in ("policyVersion", "planned") if name in known}
    settings = known["settings"] if isinstance(known.get("settings"), dict) else {}
    stage = str(known.get("stage") or source.stage)
    report = scores.report(stage, played, settings=settings, **facts)
    root = source.episodes.parent
    return Page(
        report,
        played,
        title=title or str(settings.get("model") or root.parent.name),
        made=made,
        earlier=_earlier(source, known),
        metrics=_metrics((root / "reports", root.parent / "reports", root)),
    )


def _source(file: Path) -> Source:
    if file.name.endswith(_EPISODES):
        stage = file.name.removesuffix(_EPISODES)
        return Source(file, file.with_name(f"{stage}.json"), stage)
    return Source(file, file.with_name("scores.json"), file.parent.resolve().name)


def _records(path: Path) -> Sequence[EpisodeRecord]:
    """All episodes; of one that was played again, and so has several lines, the last."""
    found = {}
    with path.open("rb") as file:
        for record in records.read(file, str(path)):
            if isinstance(record, RowError):
                raise record
            found[record.key] = record
    if not found:
        raise RowError("", "holds no episode", str(path))
    return list(found.values())


def _earlier(source: Source, known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Results of the other evaluations in the folder that saw older weights."""
    version = known.get("policyVersion")
    if version is None:
        return []
    others = [_json(path) for path in source.scores.parent.glob("*.json") if path != source.scores]
    before = [o for o in others if "results" in o and (o.get("policyVersion") or 0) < version]
    before.sort(key=lambda other: other.get("policyVersion") or 0)
    return [result for other in before for result in other["results"]]


def _metrics(folders: Sequence[Path]) -> list[dict[str, Any]]:
    for folder in folders:
        path = folder / "metrics.jsonl"
        if path.is_file():
            rows = [row for _, row in jsonl.objects(path.read_bytes().splitlines(), str(path))]
            return [row for row in rows if not isinstance(row, RowError)]
    return []


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
