"""The world that the supervisor hands to a training process, one JSON line on its stdin.

Pure data, no torch: both sides import it. The process also accepts it as the usual environment
(RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, SEA_ATTEMPT), so it can be started by hand.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass

DEFAULT_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class World:
    """One process's place in one attempt."""

    attempt: int
    rank: int
    size: int
    local_rank: int
    master_address: str
    master_port: int
    timeout_s: float = DEFAULT_TIMEOUT_S
    """Deadline of every collective; longer than any wait of rank 0 for coordinator or S3."""

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @staticmethod
    def from_line(line: str) -> "World":
        return World(**json.loads(line))

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> "World | None":
        """None without WORLD_SIZE: the process then waits for its world on stdin."""
        if "WORLD_SIZE" not in environment:
            return None
        return World(
            attempt=int(environment.get("SEA_ATTEMPT", "1")),
            rank=int(environment["RANK"]),
            size=int(environment["WORLD_SIZE"]),
            local_rank=int(environment.get("LOCAL_RANK", "0")),
            master_address=environment["MASTER_ADDR"],
            master_port=int(environment["MASTER_PORT"]),
            timeout_s=float(environment.get("SEA_COLLECTIVE_TIMEOUT_S", DEFAULT_TIMEOUT_S)),
        )
