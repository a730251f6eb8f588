"""Progress on standard error: a bar where a person looks, a line now and then for logs."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[str], None]
"""Called after each item with a note."""
Update = Callable[[int, str], None]
"""Called with the number of finished items and a note."""
_LOG_EVERY_S = 30.0


@contextmanager
def bar(what: str, total: int, done: int = 0) -> Iterator[Advance]:
    """`done` of `total` are done already."""
    count = [done]
    with gauge(what, total, done) as update:

        def advance(note: str) -> None:
            count[0] += 1
            update(count[0], note)

        yield advance


@contextmanager
def gauge(what: str, total: int, done: int = 0) -> Iterator[Update]:
    """The same with absolute counts; its clock ticks between calls."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total, completed=done, note="")
        yield lambda count, note: progress.update(task, completed=count, note=note)


def _lines(what: str, total: int) -> Update:
    at, last = time.monotonic(), ""

    def update(count: int, note: str) -> None:
        nonlocal at, last
        line = f"{what}: {count} of {total}" + (f", {note}" if note else "")
        now = time.monotonic()
        if line != last and (count >= total or now - at >= _LOG_EVERY_S):
            at, last = now, line
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    return update


ReadAdvance = Callable[[int, int], None]
"""Called with (done, total)."""


@contextmanager
def reading(label: str, unit_bytes: bool = True) -> Iterator[ReadAdvance]:
    """`label` names the file; the total becomes known with the first piece."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    counted = DownloadColumn() if unit_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), counted, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
