"""Work that some ranks do while all wait: a download, the reading of dialogues, an upload.

It may take longer than a collective may (`World.timeout_s`): hundreds of gigabytes, or a store that
is away. So the ranks ask each other every second instead of waiting at a barrier, and tell their
supervisors that they live.
"""

from collections.abc import Callable
from typing import TypeVar

from sea_runtime.trainer.background import Background
from sea_runtime.trainer.job import Job

Result = TypeVar("Result")
ASK_EVERY_S = 1.0


def together(job: Job, name: str, work: Callable[[], Result] | None) -> Result | None:
    """Runs `work` where a rank has any; returns its result once all ranks are done. Collective.

    Raises what the work raised, on its rank.
    """
    own = None if work is None else Background(name, work)
    done = False
    while not done:
        job.report.alive()
        ended = own is None or own.wait(ASK_EVERY_S)
        if own is not None and ended:
            own.result()
        done = job.control.smallest(float(ended)) == 1.0
    return None if own is None else own.result()
