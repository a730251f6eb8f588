"""Work in a daemon thread, as a `concurrent.futures.Future`.

The standard executors join their threads when the interpreter exits: an upload that is stuck would
keep a dying process alive.

`rank_barrier` is for work that some ranks do while all wait: a download, reading dialogues, an
upload. It may take longer than a collective may (`RankAssignment.timeout_s`): hundreds of
gigabytes, or an outage of the store. So the ranks ask each other every second instead of waiting at
one barrier, and report to their supervisors that they are alive.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from sea_data.object_store import StoreUnavailableError
from sea_runtime.client.calls import CoordinatorUnreachableError
from sea_runtime.trainer.context import RankContext

log = logging.getLogger(__name__)
Result = TypeVar("Result")
MAX_OUTAGE_SECONDS = 1800.0
"""How long the object store or the coordinator may be away while all ranks wait for it."""
OUTAGES = (StoreUnavailableError, CoordinatorUnreachableError)
# Far below the collective's time-out, so that the slow rank always enters the next one in time.
POLL_SECONDS = 1.0


def start(name: str, work: Callable[[], Result]) -> Future[Result]:
    """Runs `work` in a thread of its own; the future holds what it returns or raises.

    The end of the process cuts the work off at any point: it must leave nothing half-visible.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        # BaseException: the waiter of the future would otherwise wait forever.
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


def through_outages(
    what: str,
    call: Callable[[], Result],
    *,
    note: Callable[[str], object] = log.warning,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """The call's result; it is repeated while the object store or the coordinator is away, for half
    an hour at most.

    Their calls back off by themselves: this loop does not spin.

    Args:
        note: takes a sentence each time.
        clock: monotonic seconds.

    Raises:
        StoreUnavailableError, CoordinatorUnreachableError: it has been away for so long.
    """
    since: float | None = None
    while True:
        try:
            return call()
        except OUTAGES as error:
            is_store = isinstance(error, StoreUnavailableError)
            awaited = "the object store" if is_store else "the coordinator"
            since = clock() if since is None else since
            away = clock() - since
            if away > MAX_OUTAGE_SECONDS:
                raise type(error)(
                    f"{what} has waited {away / 60:.0f} minutes for {awaited}: {error}"
                ) from error
            note(f"{what} waits for {awaited}: {error}")


def rank_barrier(
    context: RankContext, name: str, work: Callable[[], Result] | None
) -> Result | None:
    """Runs `work` on the ranks that pass any; returns its result once all ranks are done.

    Collective: every rank calls it, those without work with None. Raises what the work raised, on
    the rank that ran it. Work is run again while the object store or the coordinator is away.
    """
    own = None if work is None else start(name, lambda: through_outages(name, work))
    done = False
    while not done:
        context.status.alive()
        mine = own is None or finished(own, POLL_SECONDS)
        if own is not None and mine:
            # Before the collective below: a rank whose work failed must leave, and the others
            # learn it from their broken connection.
            own.result()
        # 1.0 only if it is 1.0 on every rank.
        done = context.control.min(float(mine)) == 1.0
    return None if own is None else own.result()
