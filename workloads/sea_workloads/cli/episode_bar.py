"""A progress bar on standard error for people, a line now and then for logs."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[str], None]
"""One more is done; the text says how it goes."""
_LOG_EVERY_S = 30.0


@contextmanager
def bar(what: str, total: int, done: int = 0) -> Iterator[Advance]:
    """`done` of `total` are done already."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what, total, done)
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
        yield lambda note: progress.update(task, advance=1, note=note)


def _lines(what: str, total: int, done: int) -> Advance:
    state = {"done": done, "said": time.monotonic()}

    def advance(note: str) -> None:
        state["done"] += 1
        now = time.monotonic()
        if state["done"] >= total or now - state["said"] >= _LOG_EVERY_S:
            state["said"] = now
            sys.stderr.write(f"{what}: {state['done']:.0f} of {total}, {note}\n")
            sys.stderr.flush()

    return advance
