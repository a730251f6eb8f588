"""One rank of two: `rank_barrier_probe.py RANK HOST PORT`; rank 0's work outlasts a collective.

Says `imported`, and joins once it is sent a line.
"""

import datetime
import sys
import time

import torch.distributed as dist

from sea_runtime.trainer import background, process_groups
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.process_protocol import RankAssignment, StatusPipe

JOIN_SECONDS = 300.0

COLLECTIVE_S = 12.0
WORK_S = 2 * COLLECTIVE_S


def main(rank: int, host: str, port: int) -> None:
    sys.stdout.write("imported\n")
    sys.stdout.flush()
    sys.stdin.readline()
    # Joining may take as long as it wants; only what is tested has the short time-out.
    assignment = RankAssignment(1, rank, 2, 0, host, port, timeout_s=JOIN_SECONDS)
    process_groups.join(assignment)
    timeout = datetime.timedelta(seconds=COLLECTIVE_S)
    group = dist.new_group(backend="gloo", timeout=timeout)
    control = process_groups.ControlGroup(rank, 2, group)
    context = RankContext(None, assignment, control, None, None, StatusPipe())  # type: ignore[arg-type]

    def work() -> str:
        time.sleep(WORK_S)
        return "done"

    found = background.rank_barrier(context, "work", work if rank == 0 else None)
    sys.stdout.write(f"{found}\n")

    def broken() -> None:
        raise ValueError("the work broke")

    background.rank_barrier(context, "broken", broken if rank == 0 else None)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
