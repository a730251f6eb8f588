"""One rank of two: `collective_probe.py RANK HOST PORT TIMEOUT`; rank 1 leaves a collective out.

Joins with a long time-out, then both make a group with the given one. Rank 0 calls a collective of
it and prints the cause of its error; rank 1 waits until it is killed.
"""

import datetime
import sys

import torch
import torch.distributed as dist

from sea_runtime.trainer import process_groups
from sea_runtime.trainer.process import failure_of
from sea_runtime.trainer.process_protocol import RankAssignment, StatusPipe

JOIN_SECONDS = 300.0


def main(rank: int, host: str, port: int, timeout_s: float) -> None:
    status = StatusPipe()
    process_groups.join(RankAssignment(1, rank, 2, 0, host, port, timeout_s=JOIN_SECONDS))
    group = dist.new_group(backend="gloo", timeout=datetime.timedelta(seconds=timeout_s))
    sys.stdout.write("joined\n")
    sys.stdout.flush()
    if rank == 1:
        sys.stdin.read()
    try:
        status.alive()
        dist.all_reduce(torch.ones(4), group=group)
    except Exception as error:
        sys.stdout.write(f"{failure_of(error, status, timeout_s).cause}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
