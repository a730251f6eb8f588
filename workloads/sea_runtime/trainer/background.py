"""Work in a daemon thread, as a `concurrent.futures.Future`.

The standard executors join their threads when the interpreter exits: an upload that is stuck would
keep a dying process alive.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

Result = TypeVar("Result")


def start(name: str, work: Callable[[], Result]) -> Future[Result]:
    """Runs `work` in a thread of its own; the future holds what it returns or raises.

    The end of the process cuts the work off at any point: it must leave nothing half-visible.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        # BaseException: whoever waits for the future would otherwise wait forever.
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def finished(future: Future[Any], seconds: float) -> bool:
    """Waits at most `seconds`; true if the work is finished."""
    return bool(wait([future], seconds).done)


def error_of(future: Future[Any]) -> BaseException | None:
    """What the work raised; None if it succeeded or still runs."""
    return future.exception() if future.done() else None
