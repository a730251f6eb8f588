"""One rank of two: `python together_probe.py RANK HOST PORT`; rank 0's work outlasts a collective.

Says `imported`, and joins once it is sent a line.
"""

import sys
import time

from sea_runtime.trainer import groups
from sea_runtime.trainer.job import Job
from sea_runtime.trainer.report import Report
from sea_runtime.trainer.together import together
from sea_runtime.trainer.world import World

LONG_S = 24.0
"""Joining is collectives too, so half of this has to do for them on any machine."""


def main(rank: int, host: str, port: int) -> None:
    sys.stdout.write("imported\n")
    sys.stdout.flush()
    sys.stdin.readline()
    world = World(1, rank, 2, 0, host, port, timeout_s=LONG_S / 2)
    control = groups.join(world)
    job = Job(None, world, control, None, None, Report())  # type: ignore[arg-type]

    def work() -> str:
        time.sleep(LONG_S)
        return "done"

    found = together(job, "work", work if rank == 0 else None)
    sys.stdout.write(f"{found}\n")

    def broken() -> None:
        raise ValueError("the work broke")

    together(job, "broken", broken if rank == 0 else None)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
