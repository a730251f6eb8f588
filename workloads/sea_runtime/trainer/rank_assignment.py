"""The rank that the supervisor assigns to a training process: one JSON line on its stdin.

Pure data without torch; both sides import it. A process started by hand takes the usual variables
instead (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, SEA_ATTEMPT).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass

DEFAULT_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class RankAssignment:
    """One process's rank in one attempt, and where the ranks meet."""

    attempt: int
    rank: int
    world_size: int
    local_rank: int
    master_address: str
    master_port: int
    timeout_s: float = DEFAULT_TIMEOUT_SECONDS
    """Time-out of every collective; longer than any wait of rank 0 for coordinator or S3."""

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @staticmethod
    def from_line(line: str) -> "RankAssignment":
        return RankAssignment(**json.loads(line))

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> "RankAssignment | None":
        """None without WORLD_SIZE: the process then waits for its assignment on stdin."""
        if "WORLD_SIZE" not in environment:
            return None
        return RankAssignment(
            attempt=int(environment.get("SEA_ATTEMPT", "1")),
            rank=int(environment["RANK"]),
            world_size=int(environment["WORLD_SIZE"]),
            local_rank=int(environment.get("LOCAL_RANK", "0")),
            master_address=environment["MASTER_ADDR"],
            master_port=int(environment["MASTER_PORT"]),
            timeout_s=float(environment.get("SEA_COLLECTIVE_TIMEOUT_S", DEFAULT_TIMEOUT_SECONDS)),
        )
