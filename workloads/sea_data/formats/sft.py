"""Dialogue files -> dialogues to train on: read as streams, filtered, each turn once.

The first pass keeps some bytes a message of every row; the second reads the chosen rows again,
one at a time, so that files of any size pass through little memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from sea_data.formats.dialogue import Dialogue, dialogue, succeeded
from sea_data.formats.errors import RowError
from sea_data.formats.prefixes import Chosen, Facts, choose, facts
from sea_data.formats.row_file import RowFile

Progress = Callable[[int, int], None]


@dataclass
class Report:
    """What became of the rows; each row is in exactly one of the counts but `rows`."""

    rows: int = 0
    failed: int = 0
    """Rows of dialogues that did not reach their goal."""
    prefixes: int = 0
    """Rows that a longer row of the same dialogue contains; their answers are trained in it."""
    chosen: int = 0
    """Rows that are trained on."""
    bad: list[RowError] = field(default_factory=list)

    def as_metrics(self) -> dict[str, float]:
        """For a stage's progress."""
        return {
            "data_rows": float(self.rows),
            "data_rows_failed": float(self.failed),
            "data_rows_within_longer": float(self.prefixes),
            "data_rows_bad": float(len(self.bad)),
        }


@dataclass(frozen=True)
class Plan:
    """The chosen rows of each file, and what became of the others."""

    files: Sequence[RowFile]
    chosen: Sequence[Sequence[Chosen]]
    report: Report

    def __len__(self) -> int:
        return sum(map(len, self.chosen))

    def dialogues(self) -> Iterator[Dialogue]:
        """The dialogues in the order of the files, read as they are asked for."""
        for file, rows in zip(self.files, self.chosen, strict=True):
            for row in rows:
                yield _read(file, row)


@dataclass(frozen=True)
class Loaded:
    dialogues: list[Dialogue]
    report: Report


def load(files: Iterable[tuple[str, Iterable[bytes]]], *, skip_bad: bool = False) -> Loaded:
    """`plan` and its dialogues at once, of (name, lines) pairs: for data that fit into memory."""
    opened = [RowFile.of_lines(data, name) for name, data in files]
    try:
        planned = plan(opened, skip_bad=skip_bad)
        return Loaded(list(planned.dialogues()), planned.report)
    finally:
        for file in opened:
            file.close()


def plan(
    files: Sequence[RowFile], *, skip_bad: bool = False, progress: Progress | None = None
) -> Plan:
    """Reads all rows once; `progress` is called with (rows read, rows in all).

    Raises the first RowError, with its place, unless `skip_bad`; then they are in the report.
    """
    report, total = Report(), sum(map(len, files))

    def count() -> None:
        report.rows += 1
        if progress is not None:
            progress(report.rows, total)

    chosen = [_of_file(file, report, skip_bad, count) for file in files]
    return Plan(files, chosen, report)


def _of_file(
    file: RowFile, report: Report, skip_bad: bool, count: Callable[[], None]
) -> list[Chosen]:
    dialogues: dict[str, list[Facts]] = {}
    for position, row in file.rows():
        count()
        try:
            if isinstance(row, RowError):
                raise row
            found = dialogue(row, default_id=f"row {position}")
            if succeeded(row):
                dialogues.setdefault(found.id, []).append(facts(position, found))
            else:
                report.failed += 1
        except RowError as error:
            placed = error if error.file else error.at(file.name, file.line(position))
            if not skip_bad:
                raise placed from error
            report.bad.append(placed)
    chosen = [one for rows in dialogues.values() for one in choose(rows)]
    report.chosen += len(chosen)
    report.prefixes += sum(map(len, dialogues.values())) - len(chosen)
    return sorted(chosen, key=lambda one: one.position)


def _read(file: RowFile, chosen: Chosen) -> Dialogue:
    found = _row(file, chosen.position)
    messages = list(found.messages)
    for index, position in chosen.answers.items():
        if not messages[index].get("thinking") and position != chosen.position:
            thought = _row(file, position).messages[-1].get("thinking")
            if thought:
                messages[index] = {**messages[index], "thinking": thought}
    return replace(found, messages=tuple(messages), trained=chosen.trained)


def _row(file: RowFile, position: int) -> Dialogue:
    """A row that was fine when the file was planned."""
    row = file.get(position)
    if isinstance(row, RowError):
        raise row
    return dialogue(row, default_id=f"row {position}")
