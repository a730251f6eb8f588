"""One rank of two: `rank_barrier_probe.py RANK HOST PORT`; rank 0's work outlasts a collective.

Says `imported`, and joins once it is sent a line.
"""

import sys
import time

from sea_runtime.trainer import process_groups, rank_barrier
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.rank_assignment import RankAssignment
from sea_runtime.trainer.status_pipe import StatusPipe

LONG_S = 24.0
"""Joining is collectives too, so half of this has to do for them on any machine."""


def main(rank: int, host: str, port: int) -> None:
    sys.stdout.write("imported\n")
    sys.stdout.flush()
    sys.stdin.readline()
    assignment = RankAssignment(1, rank, 2, 0, host, port, timeout_s=LONG_S / 2)
    control = process_groups.join(assignment)
    context = RankContext(None, assignment, control, None, None, StatusPipe())  # type: ignore[arg-type]

    def work() -> str:
        time.sleep(LONG_S)
        return "done"

    found = rank_barrier.run(context, "work", work if rank == 0 else None)
    sys.stdout.write(f"{found}\n")

    def broken() -> None:
        raise ValueError("the work broke")

    rank_barrier.run(context, "broken", broken if rank == 0 else None)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
