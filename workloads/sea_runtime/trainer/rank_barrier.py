"""Work that some ranks do while all wait: a download, reading dialogues, an upload.

It may take longer than a collective may (`RankAssignment.timeout_s`): hundreds of gigabytes, or an
outage of the store. So the ranks ask each other every second instead of waiting at one barrier,
and report to their supervisors that they are alive.
"""

from collections.abc import Callable
from typing import TypeVar

from sea_runtime.trainer import background
from sea_runtime.trainer.context import RankContext

Result = TypeVar("Result")
# Far below the collective's time-out, so that the slow rank always enters the next one in time.
POLL_SECONDS = 1.0


def run(context: RankContext, name: str, work: Callable[[], Result] | None) -> Result | None:
    """Runs `work` on the ranks that pass any; returns its result once all ranks are done.

    Collective: every rank calls it, those without work with None. Raises what the work raised, on
    the rank that ran it.
    """
    own = None if work is None else background.start(name, work)
    done = False
    while not done:
        context.status.alive()
        finished = own is None or background.finished(own, POLL_SECONDS)
        if own is not None and finished:
            # Before the collective below: a rank whose work failed must leave, and the others
            # learn it from their broken connection.
            own.result()
        # 1.0 only if it is 1.0 on every rank.
        done = context.control.min(float(finished)) == 1.0
    return None if own is None else own.result()
