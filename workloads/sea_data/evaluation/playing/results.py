"""The folder of an evaluation: settings, episodes played so far, scores.

    run.json          settings, checked when an evaluation is resumed
    episodes.jsonl    one line per episode, written as it ends
    scores.json       see `scores.report`
    report.html       the page

A kill at any moment costs the episodes that were being played, nothing else.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sea_data.errors import EvaluationError, RowError
from sea_data.evaluation import records
from sea_data.evaluation.records import EpisodeRecord

_MAY_GROW = ("trials", "maxTasks")
"""More trials or tasks only add episodes: seeds and rows of the others stay. None is all."""


@dataclass
class ResultStore:
    """Use as a context manager; `open_results` makes one."""

    folder: Path
    settings: Mapping[str, Any]
    done: dict[tuple[str, str, int], EpisodeRecord] = field(default_factory=dict)
    _file: IO[str] | None = None

    @property
    def episodes(self) -> Path:
        return self.folder / "episodes.jsonl"

    def __enter__(self) -> "ResultStore":
        self._file = self.episodes.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, record: EpisodeRecord) -> None:
        """Appends the episode and flushes it: it survives a kill."""
        assert self._file is not None, "the store is open"
        self._file.write(record.to_line())
        self._file.flush()
        self.done[record.key] = record

    def judged(self) -> set[tuple[str, str, int]]:
        """Keys of the episodes that have a verdict."""
        return {key for key, record in self.done.items() if record.reward is not None}

    def write(self, name: str, text: str) -> Path:
        """Writes a file atomically: a reader never sees half of it."""
        return _replace(self.folder / name, text)


def open_results(folder: Path, settings: Mapping[str, Any], *, resume: bool) -> ResultStore:
    """The folder's store; `resume` keeps what it holds, otherwise it must hold nothing.

    Raises EvaluationError.
    """
    store = ResultStore(folder, settings)
    if store.episodes.exists() and not resume:
        raise EvaluationError(
            f"The folder {folder} holds an evaluation already: add --resume to go on with it, or "
            "choose another --out."
        )
    folder.mkdir(parents=True, exist_ok=True)
    if store.episodes.exists():
        _check_same(folder / "run.json", settings)
        store.done = _read(store.episodes)
        # A killed write leaves half a line, a second attempt a second one for the same episode.
        _replace(store.episodes, "".join(record.to_line() for record in store.done.values()))
    store.write("run.json", json.dumps(settings, indent=2) + "\n")
    return store


def _check_same(path: Path, settings: Mapping[str, Any]) -> None:
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(
            f"{path} can't be read ({error}), so it isn't known what evaluation this is: choose "
            "another --out."
        ) from error
    for name, value in settings.items():
        if name not in _MAY_GROW and before.get(name) != value:
            raise EvaluationError(
                f"{path.parent} holds an evaluation with {name} {before.get(name)!r}, not "
                f"{value!r}: give the same settings to resume it, or choose another --out."
            )
    for name in _MAY_GROW:
        if not _grown(before.get(name), settings.get(name)):
            raise EvaluationError(
                f"{path.parent} holds an evaluation with {name} {before.get(name) or 'all'}, which "
                f"may only grow: {settings[name]} would leave out what was played. Give at least "
                "as many, or choose another --out."
            )


def _grown(known: int | None, value: int | None) -> bool:
    return value is None or (known is not None and value >= known)


def _read(path: Path) -> dict[tuple[str, str, int], EpisodeRecord]:
    """The last line of each episode; ignores a final line that was cut off by a kill."""
    lines = path.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    found: dict[tuple[str, str, int], EpisodeRecord] = {}
    for record in records.read(lines, str(path)):
        if isinstance(record, RowError):
            raise EvaluationError(f"{record}. Remove the line to have its episode played again.")
        found[record.key] = record
    return found


def _replace(path: Path, text: str) -> Path:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return path
