"""Dialogue files -> dialogues to train on: streamed, filtered, each turn once.

The first pass keeps a few bytes per message of every row (`turn_selection`); the second reads the
selected rows one at a time, so files of any size need little memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from sea_data.errors import RowError
from sea_data.formats.dialogue import Dialogue, dialogue, succeeded
from sea_data.formats.jsonl import RowFile
from sea_data.formats.turn_selection import RowDigests, SelectedRow, row_digests, select_rows

Progress = Callable[[int, int], None]


@dataclass
class RowCounts:
    """What became of the rows. Each row is in `rows` and in exactly one other count."""

    rows: int = 0
    failed: int = 0
    """Rows of dialogues that didn't reach their goal."""
    prefixes: int = 0
    """Rows that a longer row of the same dialogue contains, which trains their answers."""
    chosen: int = 0
    """Rows that are trained on."""
    bad: list[RowError] = field(default_factory=list)

    def as_metrics(self) -> dict[str, float]:
        """As metrics of a stage's progress."""
        return {
            "data_rows": float(self.rows),
            "data_rows_failed": float(self.failed),
            "data_rows_within_longer": float(self.prefixes),
            "data_rows_bad": float(len(self.bad)),
        }


@dataclass(frozen=True)
class Selection:
    """The rows to train on, per file, and what became of the others."""

    files: Sequence[RowFile]
    chosen: Sequence[Sequence[SelectedRow]]
    counts: RowCounts

    def __len__(self) -> int:
        return sum(map(len, self.chosen))

    def dialogues(self) -> Iterator[Dialogue]:
        """The dialogues in file order, each read when it is asked for."""
        for file, rows in zip(self.files, self.chosen, strict=True):
            for row in rows:
                yield _read(file, row)


@dataclass(frozen=True)
class Loaded:
    dialogues: list[Dialogue]
    counts: RowCounts


def load(files: Iterable[tuple[str, Iterable[bytes]]], *, skip_bad: bool = False) -> Loaded:
    """The dialogues of (name, lines) pairs, for data that fits into memory. Raises as `select`."""
    opened = [RowFile.of_lines(data, name) for name, data in files]
    try:
        selection = select(opened, skip_bad=skip_bad)
        return Loaded(list(selection.dialogues()), selection.counts)
    finally:
        for file in opened:
            file.close()


def select(
    files: Sequence[RowFile], *, skip_bad: bool = False, progress: Progress | None = None
) -> Selection:
    """Reads all rows once; `progress` is called with (rows read, total rows).

    Raises the first RowError, with its place. With `skip_bad`, errors are in the counts instead.
    """
    counts, total = RowCounts(), sum(map(len, files))

    def count() -> None:
        counts.rows += 1
        if progress is not None:
            progress(counts.rows, total)

    chosen = [_of_file(file, counts, skip_bad, count) for file in files]
    return Selection(files, chosen, counts)


def _of_file(
    file: RowFile, counts: RowCounts, skip_bad: bool, count: Callable[[], None]
) -> list[SelectedRow]:
    dialogues: dict[str, list[RowDigests]] = {}
    for position, row in file.rows():
        count()
        try:
            if isinstance(row, RowError):
                raise row
            found = dialogue(row, default_id=f"row {position}")
            if succeeded(row):
                dialogues.setdefault(found.id, []).append(row_digests(position, found))
            else:
                counts.failed += 1
        except RowError as error:
            # Checks of a dialogue don't know where its row is.
            placed = error if error.file else error.at(file.name, file.line(position))
            if not skip_bad:
                raise placed from error
            counts.bad.append(placed)
    chosen = [one for rows in dialogues.values() for one in select_rows(rows)]
    counts.chosen += len(chosen)
    counts.prefixes += sum(map(len, dialogues.values())) - len(chosen)
    return sorted(chosen, key=lambda one: one.position)


def _read(file: RowFile, chosen: SelectedRow) -> Dialogue:
    found = _row(file, chosen.position)
    messages = list(found.messages)
    for index, position in chosen.answers.items():
        if not messages[index].get("thinking") and position != chosen.position:
            thought = _row(file, position).messages[-1].get("thinking")
            if thought:
                messages[index] = {**messages[index], "thinking": thought}
    return replace(found, messages=tuple(messages), trained=chosen.trained, file=file.name)


def _row(file: RowFile, position: int) -> Dialogue:
    """A row that was valid when it was selected."""
    row = file.get(position)
    if isinstance(row, RowError):
        raise row
    return dialogue(row, default_id=f"row {position}")
